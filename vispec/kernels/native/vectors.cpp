// Vectors of numbers as wide as the processor has them, and memory for them. C++17, GCC's or Clang's.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <thread>
#include <type_traits>
#include <vector>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace {

struct Flush {  // numbers below the normal ones are 0 in here: with them, processors are a hundred times slower
#if defined(__SSE__)
  const unsigned old = _mm_getcsr();
  Flush() { _mm_setcsr(old | 0x8040); }
  ~Flush() { _mm_setcsr(old); }
#endif
};

template <typename S>
struct Memory {  // zeros, aligned
  S* const data;
  explicit Memory(int64_t n) : data(static_cast<S*>(std::aligned_alloc(64, (n * sizeof(S) + 64) / 64 * 64))) {
    if (data) std::memset(data, 0, n * sizeof(S));
  }
  ~Memory() { std::free(data); }
  Memory(const Memory&) = delete;
  operator S*() const { return data; }
};

#if defined(__AVX512F__)
constexpr int width = 64;
#elif defined(__AVX__)
constexpr int width = 32;
#else
constexpr int width = 16;
#endif

template <typename S>
struct Lanes {
  static constexpr bool wide = sizeof(S) == 8;
  typedef std::conditional_t<wide, int64_t, int32_t> Whole;
  typedef S V __attribute__((vector_size(width), aligned(width), may_alias));
  typedef Whole I __attribute__((vector_size(width), aligned(width), may_alias));
  static constexpr int64_t L = width / sizeof(S);
  static constexpr S inf = std::numeric_limits<S>::infinity();
  static constexpr S least = wide ? S(-707.8) : S(-86.8);  // just above the logarithm of the smallest normal number

  static V& at(S* x) { return *reinterpret_cast<V*>(x); }
  static V at(const S* x) { return *reinterpret_cast<const V*>(x); }
  static V all(S x) { return x - V{}; }  // -0 stays

  static void hold(V& x) {  // in a register: read once, not with each use
#if defined(__x86_64__)
    asm("" : "+v"(x));
#else
    (void)x;
#endif
  }

  static V load(const S* x, int64_t count, S rest) {  // from anywhere, the first `count` of a vector
    V found = all(rest);
    std::memcpy(&found, x, std::min(count, L) * sizeof(S));
    if (count >= L) std::memcpy(&found, x, sizeof(V));
    return found;
  }

  template <int by>
  static V turned(V x) {  // each number to where the one `by` before it was
#if defined(__GNUC__) && !defined(__clang__)
    I from;
    for (int64_t l = 0; l < L; l++) from[l] = (l + by) % L;
    return __builtin_shuffle(x, from);
#else
    V found;
    for (int64_t l = 0; l < L; l++) found[l] = x[(l + by) % L];
    return found;
#endif
  }

  // One number of all of a vector, by halves.
  template <int half = width / sizeof(S) / 2, typename F>
  static S folded(V x, F both) {
    if constexpr (half == 0)
      return x[0];
    else
      return folded<half / 2>(both(x, turned<half>(x)), both);
  }

  static S total(V x) {
    return folded(x, [](V a, V b) { return a + b; });
  }

  static S largest(V x) {
    return folded(x, [](V a, V b) { return a < b ? b : a; });
  }

  static bool any(I x) {
    Whole found = 0;
    for (int64_t l = 0; l < L; l++) found |= x[l];
    return found;
  }

  // exp(x) = found 2^n, found of 0.7 to 1.42 to an ulp or two, by a Taylor series; whole is n + magic.
  static constexpr S magic = wide ? S(0x1.8p52) : S(0x1.8p23);  // in what is added to it, fractions are rounded away
  static V fraction(V x, V& whole) {
    whole = x * S(1.4426950408889634) + magic;
    const V n = whole - magic;
    constexpr S log_2 = wide ? S(6.93145751953125e-1) : S(0.693359375);
    constexpr S rest = wide ? S(1.4286068203094172e-6) : S(-2.12194440e-4);
    const V r = x - n * log_2 - n * rest;
    constexpr int degree = wide ? 13 : 7;
    constexpr S by[] = {S(1), S(1), S(1. / 2), S(1. / 6), S(1. / 24), S(1. / 120), S(1. / 720), S(1. / 5040), S(1. / 40320),
                        S(1. / 362880), S(1. / 3628800), S(1. / 39916800), S(1. / 479001600), S(1. / 6227020800)};
    V sum = all(by[degree]);
    for (int k = degree; k; k--) sum = sum * r + by[k - 1];
    return sum;
  }

  static V exp(V x) {  // of least <= x <= 0 or so
    V whole;
    const V sum = fraction(x, whole);
    const I power = (I)whole - (I)all(magic) + Whole(wide ? 1023 : 127);
    return sum * (V)(power << (wide ? 52 : 23));
  }

  // exp, with 0 for nothing but -inf: -0 is what is possible, but below the normal numbers; rough tells of such.
  static V weight(V x, I& rough) { return weight(x, exp(x < least ? all(least) : x), rough); }

  static V weight(V x, V exp_x, I& rough) {
    const I low = x < least, some = low & (x > -inf);
    rough |= some;
    return low ? (some ? all(S(-0.0)) : V{}) : exp_x;
  }
};

}  // namespace
