#include "overlap_walk_of.h"

namespace fastloss {
namespace FASTLOSS_ISA {

FASTLOSS_INSTANTIATE_OVERLAP_WALK(4)

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
