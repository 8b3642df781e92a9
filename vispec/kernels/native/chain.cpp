// Chains of discrete states: log Z, and posterior probabilities summed into gradients; four chains abreast. C++17.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <thread>
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

// What is asked for. Weights are at most 1; 0 is impossible, and -0 is possible, but too little to have another number.
template <typename S>
struct Chains {
  int64_t B, T, K, steps;                 // steps: 1, or T - 1 where each has transitions of its own
  int64_t own_init, own_trans;            // whether each chain has its own
  const S *init, *trans, *rows;           // (1 or B, K), (1 or B, steps, K, K), (R, K)
  const int64_t *index, *length;          // (B, T): which of the rows an element reads, null: its own; (B)
  const S* share;                         // (B): by what a chain's gradient is multiplied; null: 1
  double* log_z;                          // (B)
  S *init_grad, *trans_grad, *rows_grad;  // shaped as init, trans and rows; added to. Null: no gradients
  uint8_t* doubt;                         // (B): whether what has underflowed may matter
};

#if defined(__AVX512F__)
constexpr int width = 64;
#elif defined(__AVX__)
constexpr int width = 32;
#else
constexpr int width = 16;
#endif

template <typename S>
bool possible(S weight) {
  return weight > 0 || std::signbit(weight);
}

template <typename S>
struct Sweep {
  typedef S V __attribute__((vector_size(width), aligned(width), may_alias));
  static constexpr int64_t L = width / sizeof(S);
  static constexpr int N = 4;
  // Sums from a chain's beginning are brought to `lift`, unless they are below `slim`; those from its end to a product with
  // these of `high`. A sum below `least` may have lost what underflowed, one below `least * lift` what weights of -0 stand for.
  static constexpr bool wide = sizeof(S) == 8;
  static constexpr S lift = wide ? S(0x1p380) : S(0x1p47), least = wide ? S(0x1p-966) : S(0x1p-99),
                     slim = wide ? S(0x1p-643) : S(0x1p-79), high = wide ? S(0x1p56) : S(0x1p26);
  const Chains<S>& c;
  const int64_t K, P, chunk;  // states; with padding; steps whose pairs are counted at once
  Memory<S> forth, back, alpha, scale, pair, now, in, seen, rest, after;
  std::vector<uint8_t> reach;
  int64_t held = -1;  // which transitions forth and back hold
  bool rough_steps = false, rough = false;  // whether they have weights of -0; whether these or what has been seen

  explicit Sweep(const Chains<S>& all)
      : c(all), K(all.K), P((all.K + L - 1) / L * L), chunk(all.own_trans || all.steps > 1 ? 1 : 16), forth(K * P),
        back(K * P), alpha(all.init_grad ? all.T * N * P : 0), scale(all.T * N), pair(K * P), now(N * P), in(N * P),
        seen(N * P), rest(N * P), after(chunk * N * P), reach(2 * K) {}

  bool has_room() const {
    const S* all[] = {forth, back, alpha, scale, pair, now, in, seen, rest, after};
    return std::find(std::begin(all), std::end(all), nullptr) == std::end(all);
  }

  void take(int64_t chain, int64_t step) {  // the transitions of a step, forth (from, to) and back (to, from)
    const int64_t at = (c.own_trans ? chain * c.steps : 0) + (c.steps > 1 ? step : 0);
    if (at == held) return;
    const S* from = c.trans + at * K * K;
    for (int64_t i = 0; i < K; i++)
      for (int64_t j = 0; j < K; j++) forth[i * P + j] = back[j * P + i] = from[i * K + j];
    held = at;
    rough_steps = std::any_of(from, from + K * K, [](S w) { return std::signbit(w); });
    rough |= rough_steps;
  }

  S* gradient_of(int64_t chain, int64_t step) const {
    return c.trans_grad + ((c.own_trans ? chain * c.steps : 0) + (c.steps > 1 ? step : 0)) * K * K;
  }

  int64_t row(int64_t chain, int64_t t) const { return c.index ? c.index[chain * c.T + t] : chain * c.T + t; }

  void weights(int64_t chain, int64_t t, S* to) {
    std::memcpy(to, c.rows + row(chain, t) * K, K * sizeof(S));
    int negative = 0;
    for (int64_t j = 0; j < K; j++) negative |= std::signbit(to[j]);
    rough |= negative != 0;
  }

  template <int M, int W>
  void tile(const S* m, const S* from, S* to) const {
    V sum[M][W] = {};
    for (int64_t i = 0; i < K; i++)
      for (int w = 0; w < W; w++) {
        const V each = *reinterpret_cast<const V*>(m + i * P + w * L);
        for (int n = 0; n < M; n++) sum[n][w] += from[n * P + i] * each;
      }
    for (int n = 0; n < M; n++)
      for (int w = 0; w < W; w++) *reinterpret_cast<V*>(to + n * P + w * L) = sum[n][w];
  }

  template <int M>  // to[n] = from[n] m, for M chains
  void product(const S* m, const S* from, S* to) const {
    int64_t j = 0;
    for (; j + 2 * L <= P; j += 2 * L) tile<M, 2>(m + j, from, to + j);
    for (; j < P; j += L) tile<M, 1>(m + j, from, to + j);
  }

  S total(const S* x) const {
    V sum = {};
    for (int64_t j = 0; j < P; j += L) sum += *reinterpret_cast<const V*>(x + j);
    S all = 0;
    for (int64_t j = 0; j < L; j++) all += sum[j];
    return all;
  }

  S floor() const { return rough ? least * lift : least; }

  bool small(const S* x) const {
    int found = 0;
    for (int64_t j = 0; j < K; j++) found |= !(x[j] >= floor());
    return found;
  }

  // Whether sums x of ways by m are small of a state that some way leads to: reach has those of the step before, and then of
  // this one, behind its weights.
  bool lost(const S* m, const S* x, const S* weight) {
    uint8_t *old = reach.data(), *next = old + K, found = 0;
    std::fill(next, next + K, 0);
    for (int64_t i = 0; i < K; i++)
      for (int64_t j = 0; old[i] && j < K; j++) next[j] |= possible(m[i * P + j]);
    for (int64_t j = 0; j < K; j++) {
      found |= next[j] && !(x[j] >= floor());
      old[j] = next[j] && possible(weight[j]);
    }
    return found;
  }

  // Sums from the beginning of M chains: alpha (T, N, P), each of sum `lift`; scale (T, N), by what they were multiplied. True
  // where one may have been too small. track: of one chain, true only where such a state can be reached.
  template <int M>
  bool forward(const int64_t* chain, bool track = false) {
    double log_z[M] = {}, factor[M];
    std::fill(factor, factor + M, 1);
    int64_t longest = 0;
    bool doubt = false;
    rough = rough_steps;
    for (int n = 0; n < M; n++) longest = std::max(longest, c.length[chain[n]]);
    for (int64_t t = 0; t < longest; t++) {
      if (t) {
        take(chain[0], t - 1);
        product<M>(forth, now, in);
      }
      for (int n = 0; n < M; n++) {
        if (t >= c.length[chain[n]]) continue;
        S *x = now + n * P, *p = in + n * P, *e = seen + n * P;
        weights(chain[n], t, e);
        if (!t) begin(chain[n], p, e);
        if (t) doubt |= track ? lost(forth, p, e) : small(p);
        for (int64_t j = 0; j < P; j++) x[j] = p[j] * e[j];
        const S sum = total(x), by = sum >= slim ? lift / sum : S(0);
        doubt |= !(sum >= (rough ? std::max(slim, floor()) : slim));
        for (int64_t j = 0; j < P; j++) x[j] *= by;
        if (c.init_grad) std::memcpy(alpha + (t * N + n) * P, x, P * sizeof(S));
        scale[t * N + n] = by;
        if (factor[n] < 1e-140 || sum < lift * S(1e-30)) {
          log_z[n] += std::log(factor[n]);
          factor[n] = 1;
        }
        factor[n] *= double(sum) / double(lift);
      }
    }
    for (int n = 0; n < M; n++) c.log_z[chain[n]] = log_z[n] + std::log(factor[n]);
    return doubt;
  }

  void begin(int64_t chain, S* p, const S* e) {
    const S* init = c.init + (c.own_init ? chain * K : 0);
    for (int64_t j = 0; j < K; j++) {
      p[j] = init[j] * lift;
      reach[j] = possible(init[j]) && possible(e[j]);
    }
  }

  // Sums from the end of M chains, on which `forward` was called last, and the gradients by both; what the states at t pass on
  // is left out where no way leads to them. Sums of ways are the same at all elements, or something was lost.
  template <int M>
  void backward(const int64_t* chain) {
    int64_t longest = 0;
    for (int n = 0; n < M; n++) longest = std::max(longest, c.length[chain[n]]);
    for (int64_t t = longest; t--;) {
      for (int n = 0; n < M; n++) {
        const int64_t b = chain[n], last = c.length[b] - 1;
        S *beta = rest + n * P, *u = in + n * P, *w = after + ((t ? t - 1 : 0) % chunk * N + n) * P, *e = seen + n * P;
        if (t > last) {
          std::fill(u, u + P, S(0)), std::fill(w, w + P, S(0));
          continue;
        }
        weights(b, t, e);
        if (t == last) std::fill(beta, beta + K, S(1));
        const S *a = alpha + (t * N + n) * P, by = scale[t * N + n], share = (c.share ? c.share[b] : S(1)) / high;
        for (int64_t j = 0; j < P; j++) u[j] = a[j] * beta[j];
        const S norm = total(u), up = norm > slim ? high / norm : S(0);
        c.doubt[b] |= t < last && !(std::abs(norm - high) < high / 1024);
        for (int64_t j = 0; j < P; j++) beta[j] *= up;
        add(a, beta, share, b, t);
        for (int64_t j = 0; j < P; j++) u[j] = a[j] > 0 ? beta[j] * (e[j] * by) : S(0);
        for (int64_t j = 0; j < P; j++) w[j] = u[j] * share;
      }
      if (!t) break;
      take(chain[0], t - 1);
      if ((t - 1) % chunk == 0) pairs<M>(t, std::min(chunk, longest - t));
      if (chunk == 1) settle(chain[0], t - 1);
      product<M>(back, in, rest);
    }
  }

  void add(const S* a, const S* beta, S share, int64_t chain, int64_t t) {  // posterior probabilities of an element's states
    S *to = c.rows_grad + row(chain, t) * K, *first = c.init_grad + (c.own_init ? chain * K : 0);
    for (int64_t j = 0; j < K; j++) to[j] += a[j] * beta[j] * share;
    for (int64_t j = 0; !t && j < K; j++) first[j] += a[j] * beta[j] * share;
  }

  // Of the states before and at elements t .. t + count - 1, but for the transitions; of `after` the first count steps.
  template <int M>
  void pairs(int64_t t, int64_t count) {
    int64_t i = 0;
    for (; i + 4 <= K; i += 4) outer<M, 4>(t, count, i);
    for (; i < K; i++) outer<M, 1>(t, count, i);
  }

  template <int M, int R>
  void outer(int64_t t, int64_t count, int64_t i) {
    int64_t j = 0;
    for (; j + 2 * L <= P; j += 2 * L) patch<M, R, 2>(t, count, i, j);
    for (; j < P; j += L) patch<M, R, 1>(t, count, i, j);
  }

  template <int M, int R, int W>
  void patch(int64_t t, int64_t count, int64_t i, int64_t j) {
    V sum[R][W];
    for (int r = 0; r < R; r++)
      for (int w = 0; w < W; w++) sum[r][w] = *reinterpret_cast<V*>(pair + (i + r) * P + j + w * L);
    for (int64_t s = 0; s < count; s++)
      for (int n = 0; n < M; n++) {
        const S *before = alpha + ((t - 1 + s) * N + n) * P + i, *from = after + (s * N + n) * P + j;
        for (int w = 0; w < W; w++) {
          const V each = *reinterpret_cast<const V*>(from + w * L);
          for (int r = 0; r < R; r++) sum[r][w] += before[r] * each;
        }
      }
    for (int r = 0; r < R; r++)
      for (int w = 0; w < W; w++) *reinterpret_cast<V*>(pair + (i + r) * P + j + w * L) = sum[r][w];
  }

  void settle(int64_t chain, int64_t step) {  // pairs into the gradient, by transitions that are held
    S* to = gradient_of(chain, step);
    for (int64_t i = 0; i < K; i++)
      for (int64_t j = 0; j < K; j++) to[i * K + j] += pair[i * P + j] * forth[i * P + j];
    std::memset(pair, 0, K * P * sizeof(S));
  }

  // M chains; where one may be in doubt each is looked at, and those that are get no gradients.
  template <int M>
  void some(const int64_t* chain) {
    if (forward<M>(chain)) {
      bool any = false;
      for (const int64_t* one = chain; one < chain + M; one++) any |= c.doubt[*one] = forward<1>(one, true);
      for (const int64_t* one = chain; M > 1 && any && one < chain + M; one++)
        if (!c.doubt[*one]) some<1>(one);
      if (any) return;
      if (M > 1) forward<M>(chain);
    }
    if (!c.init_grad) return;
    backward<M>(chain);
    if (chunk > 1) settle(chain[0], 0);
  }

  void all(const int64_t* chain, int64_t count) {
    for (; !c.own_trans && count >= N; chain += N, count -= N) some<N>(chain);
    for (; count; chain++, count--) some<1>(chain);
  }
};

// The share of one thread, with gradients of its own of what others add to as well.
template <typename S>
struct Worker {
  Chains<S> c;
  Memory<S> init, trans, rows;
  Sweep<S> sweep;

  Worker(const Chains<S>& all, bool own, int64_t values)
      : c(all), init(own && !all.own_init ? all.K : 0), trans(own && !all.own_trans ? all.steps * all.K * all.K : 0),
        rows(own && all.index ? values * all.K : 0), sweep(c) {
    if (own && !c.own_init) c.init_grad = init;
    if (own && !c.own_trans) c.trans_grad = trans;
    if (own && c.index) c.rows_grad = rows;
  }

  bool has_room() const { return init.data && trans.data && rows.data && sweep.has_room(); }

  void give(const Chains<S>& all, int64_t values) const {
    if (!all.own_init) sum(all.init_grad, init, all.K);
    if (!all.own_trans) sum(all.trans_grad, trans, all.steps * all.K * all.K);
    if (all.index) sum(all.rows_grad, rows, values * all.K);
  }

  static void sum(S* to, const S* from, int64_t n) {
    for (int64_t i = 0; i < n; i++) to[i] += from[i];
  }
};

// 0, or 1 where memory is missing. values: rows that elements choose from, R.
template <typename S>
int run(const Chains<S>& all, int64_t values, int64_t threads) {
  std::vector<int64_t> order(all.B);  // the longest first, so that those abreast are about as long
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return all.length[a] > all.length[b]; });
  std::vector<std::unique_ptr<Worker<S>>> workers;
  for (int64_t i = 0; i < threads; i++) {
    workers.push_back(std::make_unique<Worker<S>>(all, i && all.init_grad, values));
    if (!workers.back()->has_room()) return 1;
  }
  const auto work = [&](int64_t i) {
    const Flush flush;
    const int64_t fours = (all.B + 3) / 4, from = fours * i / threads * 4, to = std::min(all.B, fours * (i + 1) / threads * 4);
    workers[i]->sweep.all(order.data() + from, to - from);
  };
  std::vector<std::thread> beside;
  for (int64_t i = 1; i < threads; i++) beside.emplace_back(work, i);
  work(0);
  for (auto& each : beside) each.join();
  for (int64_t i = 1; i < threads && all.init_grad; i++) workers[i]->give(all, values);
  return 0;
}

}  // namespace

extern "C" {
int chains_float(const Chains<float>* all, int64_t values, int64_t threads) { return run(*all, values, threads); }
int chains_double(const Chains<double>* all, int64_t values, int64_t threads) { return run(*all, values, threads); }
}
