#include <cstring>

#include "one_loss.h"

namespace fastloss {
namespace FASTLOSS_ISA {

FASTLOSS_INSTANTIATE_ONE_LOSS(2)

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
