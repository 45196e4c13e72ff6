#include "cuda/rowwise/contiguous.h"

namespace fastloss {
namespace FASTLOSS_ISA {

FASTLOSS_INSTANTIATE_CONTIGUOUS_ROWS(2)

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
