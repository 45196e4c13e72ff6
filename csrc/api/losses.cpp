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

template <class Entry, size_t kCount>
std::string described(const Entry (&losses)[kCount]) {
  std::string text;
  for (const Entry& loss : losses)
    text += (text.empty() ? "" : " ") + signature_of(loss) + flags_of(loss);
  return text;
}

}  // namespace
}  // namespace fastloss

// The texts are never freed: who has asked may read them until the process ends.
const char* fastloss_elementwise_losses(void) {
  static const std::string* const text =
      new std::string(fastloss::described(fastloss::kElementwiseLosses));
  return text->c_str();
}

const char* fastloss_rowwise_losses(void) {
  static const std::string* const text =
      new std::string(fastloss::described(fastloss::kRowwiseLosses));
  return text->c_str();
}

const char* fastloss_overlap_losses(void) {
  static const std::string* const text =
      new std::string(fastloss::described(fastloss::kOverlapLosses));
  return text->c_str();
}

const char* fastloss_box_losses(void) {
  static const std::string* const text = new std::string(fastloss::described(fastloss::kBoxLosses));
  return text->c_str();
}
