// Mixtures of an exponential family: log-densities of some rows at all components, their sum, and what the gradient takes of
// them, before the next rows.
namespace {

template <typename S>
struct Mixtures {
  int64_t N, T, K;
  const S *statistics, *constant, *weight;  // (N, T), (K), (K, T)
  const S* share;                           // (N): by what a row's gradient is multiplied; null: 1
  S *log_p, *by_constant, *by_weight;       // (N); (K) and (K, T), or null
};

template <typename S>
struct NormalMixtures {
  int64_t N, D, K;
  const S *x, *log_weight, *loc, *scale;         // (N, D), (K), (K, D), (K, D)
  const S* share;                                // as above
  S *log_p, *by_log_weight, *by_loc, *by_scale;  // (N); as what they are the gradients of, or null
};

// to (rows, P) += from (rows, count) by (count, P): P a multiple of L, and from's rows and columns any distance apart.
template <typename S>
struct Product : Lanes<S> {
  using A = Lanes<S>;
  using typename A::V;
  static constexpr int64_t L = A::L;
  static constexpr int tall = width == 64 ? 8 : 4;  // as many sums as there are registers for

  template <int rows, int wide>
  static void tile(const S* from, int64_t row, int64_t column, const S* by, int64_t count, S* to, int64_t P) {
    V sum[rows][wide];
    for (int i = 0; i < rows; i++)
      for (int j = 0; j < wide; j++) sum[i][j] = A::at(to + i * P + j * L);
    for (int64_t s = 0; s < count; s++, from += column, by += P)
      for (int j = 0; j < wide; j++) {
        const V each = A::at(by + j * L);
        for (int i = 0; i < rows; i++) sum[i][j] += from[i * row] * each;
      }
    for (int i = 0; i < rows; i++)
      for (int j = 0; j < wide; j++) A::at(to + i * P + j * L) = sum[i][j];
  }

  template <int wide>
  static void strip(const S* from, int64_t rows, int64_t row, int64_t column, const S* by, int64_t count, S* to, int64_t P) {
    int64_t i = 0;
    for (; i + tall <= rows; i += tall) tile<tall, wide>(from + i * row, row, column, by, count, to + i * P, P);
    for (; i < rows; i++) tile<1, wide>(from + i * row, row, column, by, count, to + i * P, P);
  }

  static void add(const S* from, int64_t rows, int64_t row, int64_t column, const S* by, int64_t count, S* to, int64_t P) {
    int64_t j = 0;
    for (; j + 2 * L <= P; j += 2 * L) strip<2>(from, rows, row, column, by + j, count, to + j, P);
    for (; j < P; j += L) strip<1>(from, rows, row, column, by + j, count, to + j, P);
  }
};

// Components as columns, (P) and (T, P), and what the gradient takes of them.
template <typename S>
struct Columns {
  const int64_t K, T, P;
  Memory<S> constant, weight;

  Columns(int64_t K, int64_t T) : K(K), T(T), P((K + Lanes<S>::L - 1) / Lanes<S>::L * Lanes<S>::L), constant(P), weight(T * P) {}

  bool has_room() const { return constant.data && weight.data; }
};

// A thread's rows, some at a time: statistics, or x with its squares, from a centre.
template <typename S>
struct Rows : Lanes<S> {
  using A = Lanes<S>;
  using typename A::I;
  using typename A::V;
  static constexpr int64_t L = A::L;

  const Columns<S>& c;
  const S *given, *centre, *share;
  S* log_p;
  const bool grad;
  const int64_t P, most;  // most: rows at a time, whose numbers stay at hand
  I padding;              // of the last vector
  Columns<S> slope;
  Memory<S> score, squares;

  Rows(const Columns<S>& columns, const S* given, const S* centre, const S* share, S* log_p, bool grad)
      : c(columns), given(given), centre(centre), share(share), log_p(log_p), grad(grad), P(c.P),
        most(std::clamp<int64_t>(16384 / P, 8, 128) / 8 * 8), slope(c.K, grad ? c.T : 0), score(most * P),
        squares(centre ? most * c.T : 0) {
    for (int64_t l = 0; l < L; l++) padding[l] = -(P - L + l >= c.K);
  }

  bool has_room() const { return slope.has_room() && score.data && squares.data; }

  void all(int64_t from, int64_t to) {
    for (int64_t n = from; n < to; n += most) {
      const int64_t count = std::min(most, to - n);
      const S* rows = centre ? squared(n, count) : given + n * c.T;
      for (int64_t r = 0; r < count; r++) std::memcpy(score + r * P, c.constant, P * sizeof(S));
      Product<S>::add(rows, count, c.T, 1, c.weight, c.T, score, P);
      int64_t r = 0;
      for (; r + 4 <= count; r += 4) sum<4>(n + r, score + r * P);
      for (; r < count; r++) sum<1>(n + r, score + r * P);
      if (grad) Product<S>::add(rows, c.T, 1, c.T, score, count, slope.weight, P);
    }
  }

  const S* squared(int64_t n, int64_t count) {
    const int64_t D = c.T / 2;
    for (int64_t r = 0; r < count; r++)
      for (int64_t d = 0; d < D; d++) {
        const S x = given[(n + r) * D + d] - centre[d];
        squares[r * c.T + d] = x;
        squares[r * c.T + D + d] = x * x;
      }
    return squares;
  }

  // Logs of sums, of rows side by side, as each waits for its own. What a row counts of its responsibilities takes the place of
  // its log-densities: those below e^-80 of the largest are 0.
  template <int rows>
  void sum(int64_t n, S* row) {
    V top[rows], mass[rows];
    S peak[rows];
    for (int r = 0; r < rows; r++) {
      V& last = A::at(row + r * P + P - L);
      last = padding ? A::all(-A::inf) : last;
      top[r] = last;
      mass[r] = V{};
    }
    for (int64_t k = 0; k < P - L; k += L)
      for (int r = 0; r < rows; r++) top[r] = top[r] < A::at(row + r * P + k) ? A::at(row + r * P + k) : top[r];
    for (int r = 0; r < rows; r++) {
      peak[r] = A::largest(top[r]);
      if (peak[r] == -A::inf) peak[r] = 0;
    }
    for (int64_t k = 0; k < P; k += L)
      for (int r = 0; r < rows; r++) {
        V& here = A::at(row + r * P + k);
        const V less = here - peak[r];
        const I low = less < S(-80);
        mass[r] += here = low ? V{} : A::exp(low ? V{} : less);
      }
    for (int r = 0; r < rows; r++) {
      const S total = A::total(mass[r]);
      log_p[n + r] = std::log(total) + peak[r];
      mass[r] = A::all(total == 0 ? S(0) : (share ? share[n + r] : S(1)) / total);
    }
    for (int64_t k = 0; grad && k < P; k += L)
      for (int r = 0; r < rows; r++) A::at(slope.constant + k) += A::at(row + r * P + k) *= mass[r];
  }
};

// All rows by some threads; the first worker has the slopes, or there is none where memory is missing.
template <typename S>
std::unique_ptr<Rows<S>> mixed(
    const Columns<S>& c, int64_t N, const S* given, const S* centre, const S* share, S* log_p, bool grad, int64_t threads) {
  std::vector<std::unique_ptr<Rows<S>>> workers;
  for (int64_t i = 0; i < threads; i++) {
    workers.push_back(std::make_unique<Rows<S>>(c, given, centre, share, log_p, grad));
    if (!workers.back()->has_room()) return nullptr;
  }
  const auto work = [&](int64_t i) {
    const Flush here;
    workers[i]->all(N * i / threads, N * (i + 1) / threads);
  };
  std::vector<std::thread> beside;
  for (int64_t i = 1; i < threads; i++) beside.emplace_back(work, i);
  work(0);
  for (auto& each : beside) each.join();
  Columns<S>& first = workers[0]->slope;
  for (int64_t i = 1; i < threads && grad; i++) {
    for (int64_t k = 0; k < c.P; k++) first.constant[k] += workers[i]->slope.constant[k];
    for (int64_t k = 0; k < c.T * c.P; k++) first.weight[k] += workers[i]->slope.weight[k];
  }
  return std::move(workers[0]);
}

// 0, or 1 where memory is missing.
template <typename S>
int64_t mix(const Mixtures<S>& m, int64_t threads) {
  Columns<S> c(m.K, m.T);
  if (!c.has_room()) return 1;
  std::memcpy(c.constant, m.constant, m.K * sizeof(S));
  for (int64_t k = 0; k < m.K; k++)
    for (int64_t t = 0; t < m.T; t++) c.weight[t * c.P + k] = m.weight[k * m.T + t];
  const auto found = mixed<S>(c, m.N, m.statistics, nullptr, m.share, m.log_p, m.by_weight, threads);
  if (!found) return 1;
  if (!m.by_weight) return 0;
  std::memcpy(m.by_constant, found->slope.constant, m.K * sizeof(S));
  for (int64_t k = 0; k < m.K; k++)
    for (int64_t t = 0; t < m.T; t++) m.by_weight[k * m.T + t] = found->slope.weight[t * c.P + k];
  return 0;
}

// Σ_d log N(x_d; loc_kd, scale_kd²) as constant_k + weight_k · (x, x²), x from the mean of all loc.
template <typename S>
int64_t mix_normals(const NormalMixtures<S>& m, int64_t threads) {
  Columns<S> c(m.K, 2 * m.D);
  Memory<S> centre(m.D);
  if (!c.has_room() || !centre.data) return 1;
  for (int64_t k = 0; k < m.K; k++)
    for (int64_t d = 0; d < m.D; d++) centre[d] += m.loc[k * m.D + d];
  for (int64_t d = 0; d < m.D; d++) centre[d] /= S(m.K);
  for (int64_t k = 0; k < m.K; k++) {
    S sum = m.log_weight[k] - S(0.9189385332046727) * S(m.D);
    for (int64_t d = 0; d < m.D; d++) {
      const S scale = m.scale[k * m.D + d], loc = m.loc[k * m.D + d] - centre[d], precision = 1 / (scale * scale);
      c.weight[d * c.P + k] = loc * precision;
      c.weight[(m.D + d) * c.P + k] = S(-0.5) * precision;
      sum -= std::log(scale) + S(0.5) * (loc * precision) * loc;
    }
    c.constant[k] = sum;
  }
  const auto found = mixed<S>(c, m.N, m.x, centre, m.share, m.log_p, m.by_loc, threads);
  if (!found) return 1;
  if (!m.by_loc) return 0;
  const Columns<S>& slope = found->slope;
  std::memcpy(m.by_log_weight, slope.constant, m.K * sizeof(S));
  for (int64_t k = 0; k < m.K; k++)
    for (int64_t d = 0; d < m.D; d++) {
      const S scale = m.scale[k * m.D + d], loc = m.loc[k * m.D + d] - centre[d], precision = 1 / (scale * scale);
      const S mass = slope.constant[k], linear = slope.weight[d * c.P + k], square = slope.weight[(m.D + d) * c.P + k];
      const S shifted = linear - mass * loc;
      m.by_loc[k * m.D + d] = shifted * precision;
      m.by_scale[k * m.D + d] = ((square - (linear + shifted) * loc) * precision - mass) / scale;
    }
  return 0;
}

}  // namespace

extern "C" {
int64_t mixtures_float(const Mixtures<float>* all, int64_t threads) { return mix(*all, threads); }
int64_t mixtures_double(const Mixtures<double>* all, int64_t threads) { return mix(*all, threads); }
int64_t normal_mixtures_float(const NormalMixtures<float>* all, int64_t threads) { return mix_normals(*all, threads); }
int64_t normal_mixtures_double(const NormalMixtures<double>* all, int64_t threads) { return mix_normals(*all, threads); }
}
