// Chains of normal states: what is left after these are integrated out, by a Kalman filter, and gradients by a smoother.
// Each lane of a vector is a chain.
namespace {

// What is asked for. A row's numbers lie together; from one row to the next are so many, 0 where all have the same.
struct NormalChains {
  int64_t B, T, S, q;                           // rows, elements, numbers of a state, numbers integrated later, the last is 1
  int64_t step_row, spread_row, matrix_row;
  const double *step, *spread, *matrix;         // (B, T, S, S + q), (B, T, S, S), (B, T, S + q, S + q)
  double *rest, *half;                          // (B, q, q), (B)
  const double *by_rest, *by_half;              // gradients of these, or null
  double *by_step, *by_spread, *by_matrix;      // (B, T, ...), what they are for step, spread and matrix
};

typedef Lanes<double> A;
typedef A::V V;
constexpr int64_t L = A::L;

// to (n, p) = a b, or what it holds besides; a is (n, m) or stands for its transpose (m, n), as b (m, p) does.
template <bool turn_a, bool turn_b, bool more = false>
inline void product(const V* a, const V* b, V* to, int64_t n, int64_t m, int64_t p) {
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < p; j++) {
      V sum = more ? to[i * p + j] : V{};
      for (int64_t k = 0; k < m; k++) sum += (turn_a ? a[k * n + i] : a[i * m + k]) * (turn_b ? b[j * m + k] : b[k * p + j]);
      to[i * p + j] = sum;
    }
}

inline V size_of(V x) { return x < 0 ? -x : x; }

inline void exchange(A::I where, V& a, V& b) {
  const V old = a;
  a = where ? b : a;
  b = where ? old : b;
}

struct Determinant {  // its logarithm, of factors
  V product = A::all(1), log = {};
  void add(V factor) {
    product *= size_of(factor);
    if (A::any((product > 1e100) | (product < 1e-100))) flush();
  }
  void flush() {
    for (int64_t l = 0; l < L; l++) log[l] += std::log(product[l]);
    product = A::all(1);
  }
};

// S and q, where they are known when this is compiled, else 0.
template <int F, int G>
struct Filter {
  const NormalChains& c;
  const int64_t S = F ? F : c.S, q = G ? G : c.q, N = S + q, SS = S * S, Sq = S * q;
  Memory<double> room, kept;
  V *const move = vectors(room), *const start = move + SS, *const seen = start + Sq, *const pull = seen + SS,
    *const left = pull + Sq, *const spread = left + q * q, *const after = spread + SS, *const now = after + SS,
    *const mixed = now + Sq, *const found = mixed + SS, *const tall = found + SS, *const rest = tall + Sq,
    *const link = rest + q * q, *const told = link + SS, *const come = told + SS, *const by = come + Sq,
    *const pulled = by + q * q, *const own = pulled + Sq, *const below = own + Sq, *const weight = below + Sq,
    *const turned = weight + SS, *const slopes = turned + SS;
  int64_t first = 0, rows = 0;

  static V* vectors(const Memory<double>& of) { return reinterpret_cast<V*>(of.data); }

  explicit Filter(const NormalChains& all)
      : c(all), room((11 * SS + 9 * Sq + 3 * q * q) * L), kept((c.by_rest ? c.T : 1) * (2 * SS + Sq) * L) {}

  bool has_room() const { return room.data && kept.data; }

  struct Kept {  // of an element
    V *reached, *wide, *mean;
  };

  Kept at(int64_t t) const {
    V* all = vectors(kept) + (c.by_rest ? t : 0) * (2 * SS + Sq);
    return {all, all + SS, all + 2 * SS};
  }

  void read(const double* from, int64_t row, int64_t width, int64_t n, int64_t p, V* to) const {  // (n, p) of a wider matrix
    const double* of[L];
    for (int64_t l = 0; l < L; l++) of[l] = from + std::min(first + l, c.B - 1) * row;
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; j < p; j++)
        for (int64_t l = 0; l < L; l++) to[i * p + j][l] = of[l][i * width + j];
  }

  void write(const V* from, double* to, int64_t row, int64_t width, int64_t n, int64_t p) const {
    for (int64_t l = 0; l < rows; l++)
      for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < p; j++) to[(first + l) * row + i * width + j] = from[i * p + j][l];
  }

  void read_seen(int64_t t) const {
    const double* matrix = c.matrix + t * N * N;
    read(matrix, c.matrix_row, N, S, S, seen);
    read(matrix + S, c.matrix_row, N, S, q, pull);
  }

  void read_step(int64_t t) const {
    read(c.step + t * S * N, c.step_row, N, S, S, move);
    read(c.step + t * S * N + S, c.step_row, N, S, q, start);
  }

  // found = mixed^-1, by exchanges of rows so that pivots are large; mixed is lost.
  void invert(Determinant& det) const {
    for (int64_t i = 0; i < S; i++)
      for (int64_t j = 0; j < S; j++) found[i * S + j] = A::all(i == j);
    for (int64_t k = 0; k < S; k++) {
      for (int64_t i = k + 1; i < S; i++) {
        const A::I larger = size_of(mixed[i * S + k]) > size_of(mixed[k * S + k]);
        for (int64_t j = 0; j < S; j++) {
          exchange(larger, mixed[i * S + j], mixed[k * S + j]);
          exchange(larger, found[i * S + j], found[k * S + j]);
        }
      }
      const V pivot = mixed[k * S + k], inverse = 1 / pivot;
      det.add(pivot);
      for (int64_t j = 0; j < S; j++) mixed[k * S + j] *= inverse, found[k * S + j] *= inverse;
      for (int64_t i = 0; i < S; i++) {
        const V slope = mixed[i * S + k];
        for (int64_t j = 0; i != k && j < S; j++) {
          mixed[i * S + j] -= slope * mixed[k * S + j];
          found[i * S + j] -= slope * found[k * S + j];
        }
      }
    }
  }

  // found = (1 + a b)^-1, symmetric a and b.
  void shrink(const V* a, const V* b, Determinant& det) const {
    for (int64_t i = 0; i < SS; i++) mixed[i] = A::all(i % (S + 1) == 0);
    product<false, false, true>(a, b, mixed, S, S, S);
    invert(det);
  }

  void forward() const {
    Determinant det;
    std::fill(after, after + SS, V{}), std::fill(now, now + Sq, V{}), std::fill(rest, rest + q * q, V{});
    for (int64_t t = 0; t < c.T; t++) {
      const Kept k = at(t);
      read_seen(t), read_step(t);
      read(c.spread + t * SS, c.spread_row, S, S, S, k.wide);
      product<false, false>(move, after, k.reached, S, S, S);
      product<false, true, true>(k.reached, move, k.wide, S, S, S);
      shrink(k.wide, seen, det);
      std::copy(start, start + Sq, k.mean);
      product<false, false, true>(move, now, k.mean, S, S, q);
      product<false, false>(found, k.wide, after, S, S, S);
      less(k.mean, k.wide, pull, own);
      product<false, false>(found, own, now, S, S, q);
      if (!c.by_rest) add_rest(t, k);
    }
    det.flush();
    if (c.by_rest) return;
    write(rest, c.rest, q * q, q, q, q);
    for (int64_t l = 0; l < rows; l++) c.half[first + l] = 0.5 * det.log[l];
  }

  // to = mean - wide pull, (S, q).
  void less(const V* mean, const V* wide, const V* minus, V* to) const {
    product<false, false>(wide, minus, to, S, S, q);
    for (int64_t i = 0; i < Sq; i++) to[i] = mean[i] - to[i];
  }

  // Squares at the filtered mean, and of how far it is from what was foretold: no difference of large numbers.
  void add_rest(int64_t t, const Kept& k) const {
    read(c.matrix + t * N * N + S * N + S, c.matrix_row, N, q, q, left);
    std::copy(pull, pull + Sq, slopes);
    product<false, false, true>(seen, now, slopes, S, S, q);
    product<true, false, true>(now, slopes, left, q, S, q);
    product<true, false, true>(pull, now, left, q, S, q);
    product<false, false>(k.wide, slopes, tall, S, S, q);
    product<true, false, true>(slopes, tall, left, q, S, q);
    for (int64_t i = 0; i < q * q; i++) rest[i] += left[i];
  }

  void backward() const {
    V by_half;
    Determinant unused;
    read(c.by_half, 1, 1, 1, 1, &by_half);
    read(c.by_rest, q * q, q, q, q, left);
    by_half *= 0.5;
    for (int64_t i = 0; i < q; i++)
      for (int64_t j = 0; j < q; j++) by[i * q + j] = (left[i * q + j] + left[j * q + i]) * 0.5;
    for (int64_t t = c.T; t--;) {
      const Kept k = at(t);
      read_seen(t);
      if (t + 1 < c.T) add_later(t + 1, unused);
      std::copy(seen, seen + SS, told), std::copy(pull, pull + Sq, come);
      shrink(k.wide, told, unused);  // a difference of what is wide and what is told of it would have no digits
      less(k.mean, k.wide, come, below);
      product<false, false>(found, below, own, S, S, q);  // the posterior mean
      if (t + 1 < c.T) write_move(t + 1);
      gradients(t, k, by_half);
    }
    std::fill(own, own + Sq, V{});
    write_move(0);
  }

  // To what is seen of the state before an element, what is told of it by this and all later ones.
  void add_later(int64_t t, Determinant& unused) const {
    read_step(t);
    read(c.spread + t * SS, c.spread_row, S, S, S, spread);
    shrink(told, spread, unused);
    product<true, false>(move, found, link, S, S, S);
    std::copy(come, come + Sq, tall);
    product<false, false, true>(told, start, tall, S, S, q);
    product<false, false, true>(link, tall, pull, S, S, q);
    product<false, false>(link, told, mixed, S, S, S);
    product<false, false, true>(mixed, move, seen, S, S, S);
  }

  // The gradient for how a state follows from that before it, whose posterior mean is in `own`.
  void write_move(int64_t t) const {
    product<false, true, true>(pulled, own, turned, S, q, S);
    for (int64_t i = 0; i < SS; i++) turned[i] *= 2;
    write(turned, c.by_step + t * S * N, c.T * S * N, N, S, S);
  }

  void gradients(int64_t t, const Kept& k, V by_half) const {
    // half the gradient of the squares in the state, and how much that changes with it: of what is seen from here on
    std::copy(come, come + Sq, slopes);
    product<false, false, true>(told, own, slopes, S, S, q);
    product<false, false>(told, found, weight, S, S, S);
    product<false, false>(slopes, by, pulled, S, q, q);
    for (int64_t i = 0; i < Sq; i++) tall[i] = 2 * pulled[i];
    write(tall, c.by_step + t * S * N + S, c.T * S * N, N, S, q);
    product<false, false>(weight, k.reached, turned, S, S, S);
    for (int64_t i = 0; i < SS; i++) turned[i] *= by_half;
    for (int64_t i = 0; i < Sq; i++) tall[i] = -slopes[i];
    for (int64_t i = 0; i < SS; i++) mixed[i] = by_half * weight[i];
    product<false, true, true>(pulled, tall, mixed, S, q, S);
    write(mixed, c.by_spread + t * SS, c.T * SS, S, S, S);
    product<false, false>(found, k.wide, mixed, S, S, S);  // the posterior covariance
    for (int64_t i = 0; i < SS; i++) mixed[i] *= by_half;
    product<false, false>(own, by, below, S, q, q);
    product<false, true, true>(below, own, mixed, S, q, S);
    double* matrix = c.by_matrix + t * N * N;
    write(mixed, matrix, c.T * N * N, N, S, S);
    write(below, matrix + S, c.T * N * N, N, S, q);
    for (int64_t i = 0; i < q; i++)
      for (int64_t j = 0; j < S; j++) tall[i * S + j] = below[j * q + i];
    write(tall, matrix + S * N, c.T * N * N, N, q, S);
    write(by, matrix + S * N + S, c.T * N * N, N, q, q);
  }

  void some(int64_t from) {
    first = from, rows = std::min(c.B - from, L);
    forward();
    if (c.by_rest) backward();
  }
};

template <int F, int G>
int64_t run(const NormalChains& all, int64_t threads) {
  std::vector<std::unique_ptr<Filter<F, G>>> workers;
  for (int64_t i = 0; i < threads; i++) {
    workers.push_back(std::make_unique<Filter<F, G>>(all));
    if (!workers.back()->has_room()) return -1;
  }
  const auto work = [&](int64_t i) {
    for (int64_t from = i * L; from < all.B; from += threads * L) workers[i]->some(from);
  };
  std::vector<std::thread> beside;
  for (int64_t i = 1; i < threads; i++) beside.emplace_back(work, i);
  work(0);
  for (auto& each : beside) each.join();
  return 0;
}

}  // namespace

extern "C" int64_t normal_chains(const NormalChains* all, int64_t threads) {  // -1 where memory is missing
  const int64_t S = all->q == 1 ? all->S : 0;
  return (S == 1 ? run<1, 1> : S == 2 ? run<2, 1> : S == 3 ? run<3, 1> : S == 4 ? run<4, 1> : run<0, 0>)(*all, threads);
}
