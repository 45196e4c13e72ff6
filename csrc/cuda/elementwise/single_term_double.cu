#include "cuda/elementwise/single_term.h"

namespace fastloss {
namespace FASTLOSS_ISA {

FASTLOSS_INSTANTIATE_SINGLE_TERM(8)

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
