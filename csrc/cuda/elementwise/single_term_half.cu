#include <cstring>

#include "cuda/elementwise/single_term.h"

namespace fastloss {
namespace FASTLOSS_ISA {

FASTLOSS_INSTANTIATE_ONE_LOSS(2)

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
