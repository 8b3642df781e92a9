// Projective dependency trees: log Z and the probabilities of arcs, by the chart of Eisner (1996) and back through it. Each lane
// of a vector is a sentence. Numbers have exponents of their own, so that nothing underflows that another number does not hide.
namespace {

// What is asked for.
template <typename S>
struct Trees {
  int64_t B, n;           // sentences; elements of the longest
  const S* scores;        // (B, n, 1 + n): of the root above each element, then of each element above it
  const int64_t* length;  // (B)
  S *log_z, *arcs;        // (B); (B, n, 1 + n), zeros to begin with, or null
  uint8_t* doubt;         // (B): whether there are scores that are no numbers, or too large for exponents
};

typedef Lanes<double> A;
typedef A::V V;
typedef uint64_t U __attribute__((vector_size(width), aligned(width), may_alias));
constexpr int64_t L = A::L;
constexpr double most = 1e8;                         // of a score
constexpr double none = -A::inf, lowest = -0x1p50;  // the exponent of 0; one below those of all other numbers
constexpr double unit = 0x1p52;                     // a double that ends in a whole number's bits, if that is added to it

struct Number {  // m 2^e, 1 <= m < 2 and e a whole number; or 0 2^none
  V m, e;
};

inline Number normal(V m, V e) {  // of 0 or a normal m >= 0
  const U bits = (U)m;
  const V power = (V)(bits >> 52 | (U)A::all(unit)) - (unit + 1023);
  const V part = (V)((bits & 0xfffffffffffff) | (U)A::all(1));
  return {m > 0 ? part : V{}, m > 0 ? e + power : A::all(none)};
}

inline V larger(V a, V b) { return a > b ? a : b; }

inline V base(V e) { return unit + 1023 - e; }

inline V power(V e, V base) {  // 2^(e - that of the base), at most 1; 0 where it is not a normal number
  return (V)((U)larger(e + base, A::all(unit)) << 52);
}

struct Row {  // of numbers, so far apart
  const Number* first;
  int64_t step;
  const Number& operator[](int64_t k) const { return first[k * step]; }
};

inline Number total(Row a, Row b, int64_t count) {  // sum of a[k] b[k]
  V top = A::all(lowest), more = top, sum = {}, rest = {};
  int64_t k = 0;
  for (; k + 2 <= count; k += 2) {
    top = larger(a[k].e + b[k].e, top);
    more = larger(a[k + 1].e + b[k + 1].e, more);
  }
  if (k < count) top = larger(a[k].e + b[k].e, top);
  top = larger(top, more);
  const V from = base(top);
  for (k = 0; k + 2 <= count; k += 2) {
    sum += a[k].m * b[k].m * power(a[k].e + b[k].e, from);
    rest += a[k + 1].m * b[k + 1].m * power(a[k + 1].e + b[k + 1].e, from);
  }
  if (k < count) sum += a[k].m * b[k].m * power(a[k].e + b[k].e, from);
  return normal(sum + rest, top);
}

inline Number product(const Number& a, const Number& b) { return normal(a.m * b.m, a.e + b.e); }

inline void part(const Number& whole, V through, Row a, Row b, int64_t count, V* of_a, int64_t step_a, V* of_b, int64_t step_b) {
  if (!A::any(through > 0)) return;  // to each term its part of what goes through the whole
  const V by = through > 0 ? through / whole.m : V{}, from = base(larger(whole.e, A::all(lowest)));
  for (int64_t k = 0; k < count; k++) {
    const V share = a[k].m * by * (b[k].m * power(a[k].e + b[k].e, from));
    of_a[k * step_a] += share;
    of_b[k * step_b] += share;
  }
}

// The chart. At (i, j), i < j, of `full` and `arc`: stretches i..j below their first element; at (j, i): below their last one.
// In `arc` the other end hangs from this element itself; `joined` (j, i) are both halves, without the arc.
template <typename S>
struct Chart {
  const Trees<S>& c;
  const int64_t n = c.n, P = n | 1;  // odd, so that a column's numbers go to all places of a cache
  Memory<double> room, shares;
  Number *const full = reinterpret_cast<Number*>(room.data), *const arc = full + n * P, *const joined = arc + n * P,
               *const root = joined + n * (n - 1) / 2, *const below = root + n;
  V *const of_full = reinterpret_cast<V*>(shares.data), *const of_arc = of_full + n * P;
  const int64_t* chosen = nullptr;  // the sentences of this time
  int64_t count = 0, longest = 0;
  int64_t length[L] = {};

  explicit Chart(const Trees<S>& all)
      : c(all), room((2 * n * P + n * (n - 1) / 2 + 2 * n) * 2 * L), shares(c.arcs ? 2 * n * P * L : 0) {}

  bool has_room() const { return room.data && shares.data; }

  Number weight(int64_t element, int64_t head, A::I& fine) const {  // of the arc to an element
    V x = A::all(none), whole;
    for (int64_t l = 0; l < count; l++)
      if (std::max(element, head - 1) < length[l]) x[l] = c.scores[(chosen[l] * n + element) * (n + 1) + head];
    const A::I some = (x >= -most) & (x <= most);
    fine &= some | (x == none);
    const V m = A::fraction(some ? x : V{}, whole);
    return {some ? m : V{}, some ? whole - A::magic : A::all(none)};
  }

  void forward() const {
    A::I fine = ~A::I{};
    for (int64_t j = 0; j < longest; j++) {
      full[j * P + j] = {A::all(1), V{}};
      root[j] = weight(j, 0, fine);
      for (int64_t i = j; i--;) {
        const Row first_full{full + i * P, 1}, last_full{full + j * P, 1}, first_arc{arc + i * P, 1}, last_arc{arc + j * P, 1};
        const Row into_last{full + j, P}, into_first{full + i, P};
        const Number half = joined[j * (j - 1) / 2 + i] = total({&first_full[i], 1}, {&last_full[i + 1], 1}, j - i);
        arc[i * P + j] = product(half, weight(j, i + 1, fine));
        arc[j * P + i] = product(half, weight(i, j + 1, fine));
        full[i * P + j] = total({&first_arc[i + 1], 1}, {&into_last[i + 1], P}, j - i);
        full[j * P + i] = total({&into_first[i], P}, {&last_arc[i], 1}, j - i);
      }
    }
    for (int64_t l = 0; l < count; l++) c.doubt[chosen[l]] = !fine[l];
  }

  Number whole() const {  // the sum over roots
    for (int64_t r = 0; r < longest; r++) {
      Number after = {V{}, A::all(none)};
      for (int64_t l = 0; l < count; l++)
        if (const int64_t last = length[l] - 1; r <= last) {
          const Number& right = full[r * P + last];
          after.m[l] = right.m[l], after.e[l] = right.e[l];
        }
      below[r] = product(full[r * P], after);
    }
    return total({root, 1}, {below, 1}, longest);
  }

  void backward(const Number& whole) const {
    std::fill(of_full, of_full + longest * P, V{}), std::fill(of_arc, of_arc + longest * P, V{});
    const V by = whole.m > 0 ? 1 / whole.m : V{}, from = base(larger(whole.e, A::all(lowest)));
    for (int64_t r = 0; r < longest; r++) {
      const V share = root[r].m * by * (below[r].m * power(root[r].e + below[r].e, from));
      write(r, 0, share);
      of_full[r * P] += share;
      for (int64_t l = 0; l < count; l++)
        if (r < length[l]) of_full[r * P + length[l] - 1][l] += share[l];
    }
    for (int64_t j = longest; j--;)
      for (int64_t i = 0; i < j; i++) {
        const int64_t forth = i * P + j, back = j * P + i, beside = j * P + i + 1;
        part(full[forth], of_full[forth], {arc + i * P + i + 1, 1}, {full + (i + 1) * P + j, P}, j - i, of_arc + i * P + i + 1, 1,
             of_full + (i + 1) * P + j, P);
        part(full[back], of_full[back], {full + i * P + i, P}, {arc + back, 1}, j - i, of_full + i * P + i, P, of_arc + back, 1);
        write(j, i + 1, of_arc[forth]);
        write(i, j + 1, of_arc[back]);
        part(joined[j * (j - 1) / 2 + i], of_arc[forth] + of_arc[back], {full + i * P + i, 1}, {full + beside, 1}, j - i,
             of_full + i * P + i, 1, of_full + beside, 1);
      }
  }

  void write(int64_t element, int64_t head, V share) const {
    for (int64_t l = 0; l < count; l++)
      if (std::max(element, head - 1) < length[l]) c.arcs[(chosen[l] * n + element) * (n + 1) + head] = S(share[l]);
  }

  void some(const int64_t* sentences, int64_t how_many) {
    chosen = sentences, count = how_many, longest = 0;
    for (int64_t l = 0; l < L; l++) {
      length[l] = l < count ? std::min(std::max(c.length[chosen[l]], int64_t(0)), n) : 0;
      longest = std::max(longest, length[l]);
    }
    forward();
    const Number found = whole();
    for (int64_t l = 0; l < count; l++) {
      const double log_z = found.m[l] > 0 ? std::log(found.m[l]) + found.e[l] * 0.6931471805599453 : none;
      c.log_z[chosen[l]] = S(length[l] ? log_z : 0);
    }
    if (c.arcs) backward(found);
  }
};

// How many sentences are in doubt, or -1 where memory is missing.
template <typename S>
int64_t run(const Trees<S>& all, int64_t threads) {
  std::vector<int64_t> order(all.B);  // the longest first, so that those abreast are about as long
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return all.length[a] > all.length[b]; });
  std::vector<std::unique_ptr<Chart<S>>> workers;
  for (int64_t i = 0; i < threads; i++) {
    workers.push_back(std::make_unique<Chart<S>>(all));
    if (!workers.back()->has_room()) return -1;
  }
  const auto work = [&](int64_t i) {
    const Flush here;
    for (int64_t from = i * L; from < all.B; from += threads * L) workers[i]->some(order.data() + from, std::min(L, all.B - from));
  };
  std::vector<std::thread> beside;
  for (int64_t i = 1; i < threads; i++) beside.emplace_back(work, i);
  work(0);
  for (auto& each : beside) each.join();
  return std::count(all.doubt, all.doubt + all.B, 1);
}

}  // namespace

extern "C" {
int64_t trees_float(const Trees<float>* all, int64_t threads) { return run(*all, threads); }
int64_t trees_double(const Trees<double>* all, int64_t threads) { return run(*all, threads); }
}
