// Labels that the pass for the sums packs for the pass for the gradient: where they are all 0 or 1,
// a bit each, which is a fraction of the memory to read again.
#pragma once

#include <memory>
#include <vector>

#include "api/fastloss.h"
#include "cpu/kernels/overlap.h"

namespace fastloss {

template <class T>
class PackedLabels {
 public:
  using Word = typename LabelBits<T>::Word;

  explicit PackedLabels(const OverlapOps<T>& ops) : ops_(ops) {}

  // Makes room for chunks of up to so many elements. Before, no chunk is packed.
  void open(int64_t chunks, int64_t elements) {
    words_per_chunk_ = LabelBits<T>::words(elements);
    const int64_t bytes = chunks * words_per_chunk_ * int64_t(sizeof(Word));
    words_ = {static_cast<Word*>(fastloss_allocate(bytes)), Release{bytes}};
    if (words_) packed_.assign(chunks, true);
  }

  // The elements of a chunk from `begin` on; in order.
  void pack(int64_t chunk, int64_t begin, const T* label, int64_t count) {
    // Written once at most: other threads read the flags beside it.
    if (is_packed(chunk) && !ops_.pack(label, begin, count, words(chunk))) packed_[chunk] = false;
  }

  // Whether all labels of a chunk are.
  bool is_packed(int64_t chunk) const { return !packed_.empty() && packed_[chunk]; }

  void unpack(int64_t chunk, int64_t begin, int64_t count, T* label) const {
    ops_.unpack(words(chunk), begin, count, label);
  }

  Word* words(int64_t chunk) const { return words_.get() + chunk * words_per_chunk_; }

 private:
  struct Release {
    int64_t bytes = 0;
    void operator()(Word* words) const { fastloss_release(words, bytes); }
  };
  const OverlapOps<T>& ops_;
  int64_t words_per_chunk_ = 0;
  std::unique_ptr<Word, Release> words_;
  std::vector<char> packed_;  // (chunks,)
};

}  // namespace fastloss
