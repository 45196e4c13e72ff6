#include "cuda/overlap/pass_kernels.h"

namespace fastloss {
namespace FASTLOSS_ISA {

FASTLOSS_INSTANTIATE_OVERLAP_PASS(2)

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
