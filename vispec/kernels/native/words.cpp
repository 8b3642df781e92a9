// Words of texts, numbered by first use: one pass over the bytes. C++17, GCC's or Clang's.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int64_t SHORT = 7;  // bytes that fit into a key beside their number

struct Word {
  uint64_t key;    // the bytes of a short word and their number, or a hash of a longer one
  int32_t number;  // of a free place -1
};

uint64_t mixed(uint64_t x) {  // the finaliser of SplitMix64
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

uint64_t eight(const uint8_t* at, int64_t size) {  // the first bytes, at most eight
  uint64_t key;
  std::memcpy(&key, at, 8);
  return size < 8 ? key & ((uint64_t(1) << 8 * size) - 1) : key;
}

uint64_t key_of(const uint8_t* word, int64_t size) {
  if (size <= SHORT) return eight(word, size) | uint64_t(size) << 8 * SHORT;
  uint64_t hash = uint64_t(size);
  for (int64_t i = 0; i < size; i += 8) hash = mixed(hash ^ eight(word + i, size - i));
  return hash;
}

struct Table {  // of open places
  const uint8_t* data;
  std::vector<Word> places = std::vector<Word>(1 << 12, Word{0, -1});
  int64_t* const starts;
  int64_t* const sizes;
  int32_t count = 0;

  Table(const uint8_t* of, int64_t* starts, int64_t* sizes) : data(of), starts(starts), sizes(sizes) {}

  Word& place(uint64_t key, int64_t start, int64_t size) {
    const uint64_t mask = places.size() - 1;
    for (uint64_t at = mixed(key) & mask;; at = (at + 1) & mask) {
      Word& word = places[at];
      if (word.number < 0) return word;
      if (word.key == key && (size <= SHORT || same(word.number, start, size))) return word;
    }
  }

  bool same(int32_t number, int64_t start, int64_t size) const {
    return sizes[number] == size && !std::memcmp(data + starts[number], data + start, size);
  }

  int32_t number(int64_t start, int64_t size) {
    const uint64_t key = key_of(data + start, size);
    Word& word = place(key, start, size);
    if (word.number >= 0) return word.number;
    starts[count] = start, sizes[count] = size;
    word = {key, count};
    const int32_t found = count++;
    if (uint64_t(count) * 2 > places.size()) grow();
    return found;
  }

  void grow() {
    std::vector<Word> before(places.size() * 2, Word{0, -1});
    before.swap(places);
    for (const Word& word : before)
      if (word.number >= 0) place(word.key, starts[word.number], sizes[word.number]) = word;
  }
};

int64_t length(const uint8_t* white) {  // of a word: how many bytes there are up to the first white one
  for (int64_t size = 0;; size += 8) {
    uint64_t ends;
    std::memcpy(&ends, white + size, 8);
    if (ends) return size + (__builtin_ctzll(ends) >> 3);
  }
}

}  // namespace

// data: the bytes of all texts, and eight more; bounds (rows + 1): where texts begin and end. Of each text how many words
// it has, between ASCII white space; of each word its number, those of at most seven bytes first; of each of these two kinds
// where distinct words start, their sizes, and how many there are. Gives the number of words.
extern "C" int64_t number_words(const uint8_t* data, const int64_t* bounds, int64_t rows, int64_t* level, int32_t* numbers,
                                int64_t* short_starts, int64_t* short_sizes, int64_t* long_starts, int64_t* long_sizes,
                                int64_t* counts) {
  std::vector<uint8_t> white(bounds[rows] + 8, 1);  // so that eight of these are read at once
  for (int64_t i = 0; i < bounds[rows]; i++) white[i] = (data[i] == 32) | (uint8_t(data[i] - 9) < 5);
  Table few(data, short_starts, short_sizes), longer(data, long_starts, long_sizes);
  int64_t total = 0;
  for (int64_t row = 0; row < rows; row++) {
    const int64_t before = total, stop = bounds[row + 1];
    for (int64_t at = bounds[row]; at < stop;) {
      if (white[at]) {
        at++;
        continue;
      }
      const int64_t size = std::min(length(&white[at]), stop - at);
      numbers[total++] = size <= SHORT ? few.number(at, size) : -1 - longer.number(at, size);
      at += size;
    }
    level[row] = total - before;
  }
  for (int64_t i = 0; i < total; i++)
    if (numbers[i] < 0) numbers[i] = few.count - 1 - numbers[i];
  counts[0] = few.count, counts[1] = longer.count;
  return total;
}
