// Labels of a first walk, kept for a second one: where they are all 0 or 1, as bits, which are a
// fraction of the memory to read again.
#pragma once

#include <memory>
#include <vector>

#include "../fastloss.h"
#include "overlap_tile.h"

namespace fastloss {

template <class T>
class KeptLabels {
 public:
  explicit KeptLabels(const OverlapOps<T>& ops) : ops_(ops) {}

  // Chunks of up to so many blocks, blocks of up to so many elements. Until then none are kept.
  void open(int64_t chunks, int64_t blocks, int64_t elements) {
    blocks_ = blocks;
    words_ = LabelBits<T>::words(elements);
    const int64_t bytes = chunks * blocks_ * words_ * int64_t(sizeof(Word));
    words_of_all_ = {static_cast<Word*>(fastloss_allocate(bytes)), Release{bytes}};
    if (words_of_all_) kept_.assign(chunks, true);
  }
  void keep(int64_t chunk, int64_t block, const T* label, int64_t count) {
    if (kept(chunk)) kept_[chunk] = ops_.pack(label, count, bits(chunk, block));
  }
  // All blocks of the chunk.
  bool kept(int64_t chunk) const { return !kept_.empty() && kept_[chunk]; }
  void read(int64_t chunk, int64_t block, int64_t count, T* label) const {
    ops_.unpack(bits(chunk, block), count, label);
  }

 private:
  using Word = typename LabelBits<T>::Word;
  struct Release {
    int64_t bytes = 0;
    void operator()(Word* words) const { fastloss_release(words, bytes); }
  };
  Word* bits(int64_t chunk, int64_t block) const {
    return words_of_all_.get() + (chunk * blocks_ + block) * words_;
  }

  const OverlapOps<T>& ops_;
  int64_t blocks_ = 0, words_ = 0;
  std::unique_ptr<Word, Release> words_of_all_;
  std::vector<char> kept_;  // for each chunk
};

}  // namespace fastloss
