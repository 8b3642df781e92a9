// What a sweep over chains of discrete states is asked for, and logarithms as weights.
namespace {

// What is asked for, in logarithms.
template <typename S>
struct Chains {
  int64_t B, T, K, steps;                 // steps: 1, or T - 1 where each has transitions of its own
  int64_t own_init, own_trans;            // whether each chain has its own
  int64_t R, row, column;                 // how many rows there are; from one to the next, and from one state to the next
  const S *init, *trans, *rows;           // (1 or B, K), (1 or B, steps, K, K), (R, K)
  const int64_t *index, *length;          // (B, T): which of the rows an element reads, null: its own; (B)
  const S* share;                         // (B): by what a chain's gradient is multiplied; null: 1
  S* log_z;                               // (B)
  S *init_grad, *trans_grad, *rows_grad;  // (B, K), with nothing but the first where all are one; as trans; as rows. Or null
  uint8_t* doubt;                         // (B): whether what has underflowed may matter
};

template <typename S>
bool possible(S weight) {
  return weight > 0 || std::signbit(weight);
}

// Logarithms as weights of at most 1: 0 is impossible, and -0 is possible, but too little to have another number.
template <typename S>
struct Weights : Lanes<S> {
  using A = Lanes<S>;
  using typename A::I;
  using typename A::V;
  static constexpr int64_t L = A::L;
  static constexpr S lowest = std::numeric_limits<S>::lowest();

  // K of them into a multiple of L, the largest 1. Returns the logarithm of what they were divided by.
  static S row(const S* from, int64_t K, S* to, bool& rough) {
    V top = A::all(lowest);
    for (int64_t j = 0; j < K; j += L) {
      const V x = A::load(from + j, K - j, lowest);
      top = top < x ? x : top;
    }
    const S peak = A::largest(top);
    I some = {};
    for (int64_t j = 0; j < K; j += L) A::at(to + j) = A::weight(A::load(from + j, K - j, -A::inf) - peak, some);
    rough |= A::any(some);
    return peak;
  }

  // Rows of a table of which each state has all one after the other: L rows at a time.
  static void columns(const S* from, int64_t count, int64_t R, int64_t K, int64_t P, S* to, S* peak, uint8_t* rough) {
    V top = A::all(lowest);
    I some = {};
    for (int64_t k = 0; k < K; k++) {
      const V x = A::load(from + k * R, count, lowest);
      top = top < x ? x : top;
    }
    for (int64_t k = 0; k < K; k++) {
      const V found = A::weight(A::load(from + k * R, count, -A::inf) - top, some);
      for (int64_t l = 0; l < std::min(count, L); l++) to[l * P + k] = found[l];
    }
    for (int64_t l = 0; l < std::min(count, L); l++) peak[l] = top[l], rough[l] = some[l] != 0;
  }

  // Those of a step, (K, K) into (K, P), where what leaves a state sums to at most 1.
  static double step(const S* from, int64_t K, int64_t P, S* to, bool& rough) {
    S peak = lowest, most = 0;
    for (int64_t i = 0; i < K * K; i++) peak = std::max(peak, from[i]);
    I some = {};
    for (int64_t i = 0; i < K; i++) {
      V sum = {};
      for (int64_t j = 0; j < K; j += L)
        sum += A::at(to + i * P + j) = A::weight(A::load(from + i * K + j, K - j, -A::inf) - peak, some);
      most = std::max(most, A::total(sum));
    }
    const S by = most > 0 ? 1 / most : S(1);
    const double level = double(peak) - std::log(double(by));
    some = I{};
    for (int64_t i = 0; i < K; i++)
      for (int64_t j = 0; j < K; j += L) {
        V& here = A::at(to + i * P + j);
        here = A::weight(A::load(from + i * K + j, K - j, -A::inf) - S(level), here * by, some);
      }
    rough = A::any(some);
    return level;
  }
};

// What chains share, as weights: a table of rows that elements choose from, and transitions.
template <typename S>
struct Shared {
  const Chains<S>& c;
  const int64_t P;  // K with padding
  Memory<S> rows, peak, steps;
  std::vector<uint8_t> rough_rows, rough_steps;
  std::vector<double> level;

  explicit Shared(const Chains<S>& all)
      : c(all), P((c.K + Lanes<S>::L - 1) / Lanes<S>::L * Lanes<S>::L), rows(c.index ? c.R * P : 0), peak(c.index ? c.R : 0),
        steps(c.own_trans ? 0 : c.steps * c.K * P), rough_rows(c.R), rough_steps(c.steps), level(c.steps) {}

  bool has_room() const { return rows.data && peak.data && steps.data; }

  void fill() {
    bool rough;
    for (int64_t r = 0; c.index && r < c.R; r += c.column == 1 ? 1 : Lanes<S>::L)
      if (c.column == 1) {
        rough = false;
        peak[r] = Weights<S>::row(c.rows + r * c.row, c.K, rows + r * P, rough);
        rough_rows[r] = rough;
      } else {
        Weights<S>::columns(c.rows + r, c.R - r, c.column, c.K, P, rows + r * P, peak + r, rough_rows.data() + r);
      }
    for (int64_t s = 0; !c.own_trans && s < c.steps; s++) {
      level[s] = Weights<S>::step(c.trans + s * c.K * c.K, c.K, P, steps + s * c.K * P, rough);
      rough_steps[s] = rough;
    }
  }
};

}  // namespace
