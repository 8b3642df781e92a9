// Chains of discrete states: log Z, and posterior probabilities summed into gradients; four chains abreast.
namespace {

template <typename S>
struct Sweep : Lanes<S> {
  using A = Lanes<S>;
  using typename A::I;
  using typename A::V;
  static constexpr int64_t L = A::L;
  static constexpr int N = 4;
  // Sums from a chain's beginning are brought to `lift`, unless they are below `slim`; those from its end to a product with
  // these of `high`. A sum below `least` may have lost what underflowed, one below `least * lift` what weights of -0 stand for.
  static constexpr bool wide = sizeof(S) == 8;
  static constexpr S lift = wide ? S(0x1p380) : S(0x1p47), least = wide ? S(0x1p-966) : S(0x1p-99),
                     slim = wide ? S(0x1p-643) : S(0x1p-79), high = wide ? S(0x1p56) : S(0x1p26);
  const Chains<S>& c;
  const Shared<S>& shared;
  const int64_t K, P, chunk, keep;  // states; with padding; steps whose pairs are counted at once; elements that are kept
  const bool apart;  // whether `total` is added up elsewhere now and then: in a long sum each term would lose digits
  Memory<S> own, back, alpha, seen, scale, pair, in, rest, after, row, total;
  Memory<double> totals;
  int64_t since = 0;  // how many elements are in `total` alone
  std::vector<uint8_t> reach;
  const S* forth = nullptr;
  double level = 0;                  // by what the weights of forth were divided, as a logarithm
  int64_t held = -1, held_back = -1;  // which transitions forth and back hold
  bool rough_steps = false, rough = false;  // whether they have weights of -0; whether these or what has been seen

  Sweep(const Chains<S>& all, const Shared<S>& of_all)
      : c(all), shared(of_all), K(all.K), P(of_all.P), chunk(all.own_trans || all.steps > 1 ? 1 : 16),
        keep(all.init_grad ? all.T : 1), apart(!wide && all.index && all.init_grad && all.B * all.T > 16 * all.R),
        own(all.own_trans ? K * P : 0), back(K * P), alpha(keep * N * P), seen(all.index ? 0 : keep * N * P), scale(all.T * N),
        pair(K * P), in(N * P), rest(N * P), after(chunk * N * P), row(P),
        total(all.index && all.init_grad ? all.R * P : 0), totals(apart ? all.R * P : 0), reach(2 * K) {}

  bool has_room() const {
    const S* all[] = {own, back, alpha, seen, scale, pair, in, rest, after, row, total};
    return totals.data && std::find(std::begin(all), std::end(all), nullptr) == std::end(all);
  }

  int64_t which(int64_t chain, int64_t step) const { return (c.own_trans ? chain * c.steps : 0) + (c.steps > 1 ? step : 0); }

  void take(int64_t chain, int64_t step) {  // the transitions of a step, (from, to)
    const int64_t at = which(chain, step);
    if (at == held) return;
    held = at;
    if (c.own_trans) {
      level = Weights<S>::step(c.trans + at * K * K, K, P, own, rough_steps);
      forth = own;
    } else {
      level = shared.level[at], rough_steps = shared.rough_steps[at], forth = shared.steps + at * K * P;
    }
  }

  void take_back(int64_t chain, int64_t step) {  // and (to, from)
    take(chain, step);
    if (held_back == held) return;
    held_back = held;
    for (int64_t i = 0; i < K; i++)
      for (int64_t j = 0; j < K; j++) back[j * P + i] = forth[i * P + j];
  }

  S* kept(S* of, int64_t t, int n) const { return of + ((keep > 1 ? t : 0) * N + n) * P; }

  // Weights of the states at an element; before `forward` has been there, with the logarithm of what they were divided by.
  const S* weights(int64_t chain, int64_t t, int n, S* peak = nullptr) {
    if (c.index) {
      const int64_t at = c.index[chain * c.T + t];
      if (peak) *peak = shared.peak[at], rough |= shared.rough_rows[at] != 0;
      return shared.rows + at * P;
    }
    S* to = kept(seen, t, n);
    if (peak) *peak = Weights<S>::row(c.rows + (chain * c.T + t) * K, K, to, rough);
    return to;
  }

  template <int M, int W>
  void tile(const S* m, const S* from, S* to) const {
    V sum[M][W] = {};
    for (int64_t i = 0; i < K; i++)
      for (int w = 0; w < W; w++) {
        V each = A::at(m + i * P + w * L);
        A::hold(each);
        for (int n = 0; n < M; n++) sum[n][w] += from[n * P + i] * each;
      }
    for (int n = 0; n < M; n++)
      for (int w = 0; w < W; w++) A::at(to + n * P + w * L) = sum[n][w];
  }

  template <int M>  // to[n] = from[n] m, for M chains
  void product(const S* m, const S* from, S* to) const {
    int64_t j = 0;
    for (; j + 2 * L <= P; j += 2 * L) tile<M, 2>(m + j, from, to + j);
    for (; j < P; j += L) tile<M, 1>(m + j, from, to + j);
  }

  S floor() const { return rough ? least * lift : least; }

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
    rough = false;
    for (int n = 0; n < M; n++) longest = std::max(longest, length(chain[n]));
    for (int64_t t = 0; t < longest; t++) {
      if (t) {
        take(chain[0], t - 1);
        rough |= rough_steps;
        product<M>(forth, kept(alpha, t - 1, 0), in);
      }
      for (int n = 0; n < M; n++) {
        if (t >= length(chain[n])) continue;
        S *x = kept(alpha, t, n), *p = in + n * P, peak;
        const S* e = weights(chain[n], t, n, &peak);
        log_z[n] += double(peak) + (t ? level : begin(chain[n], p, e));
        if (t && track) doubt |= lost(forth, p, e);
        const S sum = weighed(p, e, x, doubt, t && !track), by = sum >= slim ? lift / sum : S(0);
        doubt |= !(sum >= (rough ? std::max(slim, floor()) : slim));
        for (int64_t j = 0; j < P; j += L) A::at(x + j) *= by;
        scale[t * N + n] = by;
        if (factor[n] < 1e-140 || sum < lift * S(1e-30)) {
          log_z[n] += std::log(factor[n]);
          factor[n] = 1;
        }
        factor[n] *= double(sum) / double(lift);
      }
    }
    for (int n = 0; n < M; n++) c.log_z[chain[n]] = S(log_z[n] + std::log(factor[n]));
    return doubt;
  }

  int64_t length(int64_t chain) const { return std::min(std::max(c.length[chain], int64_t(0)), c.T); }

  double begin(int64_t chain, S* p, const S* e) {  // the logarithm of what the first weights were divided by
    const S peak = Weights<S>::row(c.init + (c.own_init ? chain * K : 0), K, p, rough);
    for (int64_t j = 0; j < K; j++) reach[j] = possible(p[j]) && possible(e[j]);
    for (int64_t j = 0; j < P; j += L) A::at(p + j) *= lift;
    return peak;
  }

  S weighed(const S* p, const S* e, S* x, bool& doubt, bool look) const {  // x = p e, and its sum; whether one of p is small
    const S small = look ? floor() : -A::inf;
    V sum = {};
    I fine = ~I{};
    int64_t j = 0;
    for (; j + L <= K; j += L) {
      fine &= A::at(p + j) >= small;
      sum += A::at(x + j) = A::at(p + j) * A::at(e + j);
    }
    for (int64_t i = j; look && i < K; i++) doubt |= !(p[i] >= small);
    if (j < P) sum += A::at(x + j) = A::at(p + j) * A::at(e + j);
    doubt |= look && A::any(~fine);
    return A::total(sum);
  }

  // Sums from the end of M chains, on which `forward` was called last, and the gradients by both; what the states at t pass on
  // is left out where no way leads to them. Sums of ways are the same at all elements, or something was lost.
  template <int M>
  void backward(const int64_t* chain) {
    int64_t longest = 0;
    for (int n = 0; n < M; n++) longest = std::max(longest, length(chain[n]));
    for (int64_t t = longest; t--;) {
      for (int n = 0; n < M; n++) {
        const int64_t b = chain[n], last = length(b) - 1;
        S *beta = rest + n * P, *u = in + n * P, *w = after + ((t ? t - 1 : 0) % chunk * N + n) * P;
        if (t > last) {
          std::fill(u, u + P, S(0)), std::fill(w, w + P, S(0));
          continue;
        }
        if (t == last) std::fill(beta, beta + K, S(1)), std::fill(beta + K, beta + P, S(0));
        const S *a = kept(alpha, t, n), *e = weights(b, t, n);
        V sum = {};
        for (int64_t j = 0; j < P; j += L) sum += A::at(a + j) * A::at(beta + j);
        const S norm = A::total(sum), up = norm > slim ? high / norm : S(0), by = scale[t * N + n];
        c.doubt[b] |= t < last && !(std::abs(norm - high) < high / 1024);
        const S share = (c.share ? c.share[b] : S(1)) / high;
        S* to = c.index ? total + c.index[b * c.T + t] * P : row.data;
        if (!c.index) std::fill(to, to + P, S(0));
        for (int64_t j = 0; j < P; j += L) {
          const V some = A::at(a + j), rise = A::at(beta + j) * up, pass = rise * (A::at(e + j) * by);
          A::at(to + j) += some * rise * share;
          A::at(u + j) = some > 0 ? pass : V{};
          A::at(w + j) = A::at(u + j) * share;
        }
        if (!c.index) std::memcpy(c.rows_grad + (b * c.T + t) * K, to, K * sizeof(S));
        for (int64_t j = 0; !t && j < K; j++) c.init_grad[(c.own_init ? b * K : 0) + j] += a[j] * (beta[j] * up) * share;
      }
      if (apart && (since += M) >= std::max(c.R, int64_t(256))) add_up();
      if (!t) break;
      take_back(chain[0], t - 1);
      if ((t - 1) % chunk == 0) pairs<M>(t, std::min(chunk, longest - t));
      if (chunk == 1) settle(chain[0], t - 1);
      product<M>(back, in, rest);
    }
  }

  void add_up() {
    for (int64_t i = 0; i < c.R * P; i++) totals[i] += total[i], total[i] = 0;
    since = 0;
  }

  void finish() {  // all that was seen is in `total`
    for (int64_t i = 0; apart && i < c.R * P; i++) total[i] += totals[i];
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
    V sum[R][W] = {};  // by themselves first: in a long sum each term would lose digits
    for (int64_t s = 0; s < count; s++)
      for (int n = 0; n < M; n++) {
        const S *before = alpha + ((t - 1 + s) * N + n) * P + i, *from = after + (s * N + n) * P + j;
        for (int w = 0; w < W; w++) {
          V each = A::at(from + w * L);
          A::hold(each);
          for (int r = 0; r < R; r++) sum[r][w] += before[r] * each;
        }
      }
    for (int r = 0; r < R; r++)
      for (int w = 0; w < W; w++) A::at(pair + (i + r) * P + j + w * L) += sum[r][w];
  }

  void settle(int64_t chain, int64_t step) {  // pairs into the gradient, by transitions that are held
    S* to = c.trans_grad + which(chain, step) * K * K;
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
    if (chunk > 1 && held >= 0) settle(chain[0], 0);
  }

  void all(const int64_t* chain, int64_t count) {
    for (; !c.own_trans && count >= N; chain += N, count -= N) some<N>(chain);
    for (; count; chain++, count--) some<1>(chain);
    finish();
  }
};

// The share of one thread, with gradients of its own of what others add to as well.
template <typename S>
struct Worker {
  Chains<S> c;
  Memory<S> init, trans;
  Sweep<S> sweep;

  Worker(const Chains<S>& all, const Shared<S>& shared, bool own)
      : c(all), init(own && !all.own_init ? all.K : 0), trans(own && !all.own_trans ? all.steps * all.K * all.K : 0),
        sweep(c, shared) {
    if (own && !c.own_init) c.init_grad = init;
    if (own && !c.own_trans) c.trans_grad = trans;
  }

  bool has_room() const { return init.data && trans.data && sweep.has_room(); }

  void give(const Chains<S>& all, bool own) const {
    for (int64_t i = 0; own && !all.own_init && i < all.K; i++) all.init_grad[i] += init[i];
    for (int64_t i = 0; own && !all.own_trans && i < all.steps * all.K * all.K; i++) all.trans_grad[i] += trans[i];
    for (int64_t r = 0; all.index && r < all.R; r += 16)  // some rows at a time: either may have them one after the other
      for (int64_t k = 0; k < all.K; k++)
        for (int64_t i = r; i < std::min(r + 16, all.R); i++) {
          S& to = all.rows_grad[i * all.row + k * all.column];
          to = (own ? to : S(0)) + sweep.total[i * sweep.P + k];
        }
  }
};

// How many chains are in doubt, or -1 where memory is missing.
template <typename S>
int64_t run(const Chains<S>& all, int64_t threads) {
  Shared<S> shared(all);
  if (!shared.has_room()) return -1;
  std::vector<int64_t> order;  // the longest first, so that those abreast are about as long
  for (int64_t b = 0; b < all.B; b++)
    if (!all.share || all.share[b] != 0) order.push_back(b);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return all.length[a] > all.length[b]; });
  std::vector<std::unique_ptr<Worker<S>>> workers;
  for (int64_t i = 0; i < threads; i++) {
    workers.push_back(std::make_unique<Worker<S>>(all, shared, i && all.init_grad));
    if (!workers.back()->has_room()) return -1;
  }
  std::memset(all.doubt, 0, all.B);
  if (all.init_grad) {
    std::memset(all.init_grad, 0, all.B * all.K * sizeof(S));
    std::memset(all.trans_grad, 0, (all.own_trans ? all.B : 1) * all.steps * all.K * all.K * sizeof(S));
    if (!all.index) std::memset(all.rows_grad, 0, all.R * all.K * sizeof(S));
  }
  const Flush flush;
  shared.fill();
  const int64_t count = order.size(), fours = (count + 3) / 4;
  const auto work = [&](int64_t i) {
    const Flush here;
    const int64_t from = fours * i / threads * 4, to = std::min(count, fours * (i + 1) / threads * 4);
    workers[i]->sweep.all(order.data() + from, to - from);
  };
  std::vector<std::thread> beside;
  for (int64_t i = 1; i < threads; i++) beside.emplace_back(work, i);
  work(0);
  for (auto& each : beside) each.join();
  for (int64_t i = 0; i < threads && all.init_grad; i++) workers[i]->give(all, i);
  return std::count(all.doubt, all.doubt + all.B, 1);
}

}  // namespace

extern "C" {
int64_t chains_float(const Chains<float>* all, int64_t threads) { return run(*all, threads); }
int64_t chains_double(const Chains<double>* all, int64_t threads) { return run(*all, threads); }
}
