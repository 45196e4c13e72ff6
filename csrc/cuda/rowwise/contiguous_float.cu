#include "cuda/rowwise/contiguous.h"

namespace fastloss {
namespace FASTLOSS_ISA {

FASTLOSS_INSTANTIATE_ROWS_ALONG(4)

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
