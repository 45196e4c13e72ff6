// What the library says of its losses, in the names of fastloss/registry.py.
#include "api/boxes_call.h"
#include "api/elementwise_call.h"
#include "api/overlap_call.h"
#include "api/rowwise_call.h"

namespace fastloss {
namespace {

std::string flag(bool is_set, const char* name) {
  return is_set ? ":" + std::string(name) : std::string();
}

std::string flags_of(const LossEntry&) { return ""; }
std::string flags_of(const ElementwiseLoss& loss) {
  return flag(!loss.mean, "sum") + flag(loss.needs_all_labels, "needs_all_labels") +
         flag(!loss.needs_all_labels, "fuses_with_overlap");
}
std::string flags_of(const RowwiseLossEntry& loss) {
  return flag(true, "sum") + flag(loss.sparse, "sparse") +
         flag(!loss.has_dense_form, "no_dense_form") + flag(loss.can_fuse, "fuses_with_overlap");
}
std::string flags_of(const OverlapLoss& loss) { return flag(loss.together, "couples_classes"); }

// Never freed: who has asked may read it until the process ends.
template <class Entry, size_t kCount>
const char* described(const Entry (&losses)[kCount]) {
  std::string* const text = new std::string;
  for (const Entry& loss : losses)
    *text += (text->empty() ? "" : " ") + signature_of(loss) + flags_of(loss);
  return text->c_str();
}

}  // namespace
}  // namespace fastloss

const char* fastloss_elementwise_losses(void) {
  static const char* const text = fastloss::described(fastloss::kElementwiseLosses);
  return text;
}

const char* fastloss_rowwise_losses(void) {
  static const char* const text = fastloss::described(fastloss::kRowwiseLosses);
  return text;
}

const char* fastloss_overlap_losses(void) {
  static const char* const text = fastloss::described(fastloss::kOverlapLosses);
  return text;
}

const char* fastloss_box_losses(void) {
  static const char* const text = fastloss::described(fastloss::kBoxLosses);
  return text;
}
