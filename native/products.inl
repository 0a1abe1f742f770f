// Products of packed weights, in tiles; included by every level within a namespace of its own.
//
// A method M tells how 64 bytes of weights (16 rows by 1, 2 or 4 columns: a step) meet 4 bytes of a row of x. A tile is so many rows of x
// by so many blocks of weights, whose sums stay in registers. Every sum is one chain in the order of k, whatever the tile: a chain that is
// put down in y and taken up again is the same chain.
//   Sum, Weights, One      16 sums; a step of weights and of a row of x, as `add` takes them
//   SIZE                   bytes of a number
//   ROWS, BLOCKS           the tile for many rows;  FEW_BLOCKS, ONE_BLOCKS  blocks beside 2 rows and beside 1
//   STEPS                  of weights that many rows use in turn, from the nearest cache; 0 where sums cannot be put down
//   WRITTEN_OUT            steps in a turn of the loop; K_STEP holds whole turns
//   begin, end             from `start` to sums, from sums to y

// A method whose x is packed as the weights are: its rows lie side by side in blocks of 16. So both factors of a gradient of weights lie,
// whose sums run over places, when they are packed from rows of places.
template <class M> struct PackedX : M {};
template <class M> constexpr bool x_is_packed = false;
template <class M> constexpr bool x_is_packed<PackedX<M>> = true;
template <class M> constexpr std::ptrdiff_t X_STEP = x_is_packed<M> ? 4 * LANES : 4;  // bytes from a step of a row of x to its next

template <class M>
inline const char* x_at(const Product& p, int row) {
    const char* x = static_cast<const char*>(p.x);
    if (x_is_packed<M>) return x + std::ptrdiff_t(row / LANES) * p.columns * LANES * M::SIZE + row % LANES * 4;
    return x + row * p.x_stride * M::SIZE;
}

// So many steps, written out: static, so that compilers take it into its one caller whatever its length.
template <class M, int ROWS, int BLOCKS, int STEPS>
static inline void add_steps(typename M::Sum (&sum)[ROWS][BLOCKS], const char* x, std::ptrdiff_t x_row, const char* w,
                             std::ptrdiff_t w_block) {
    typename M::Weights column[BLOCKS];
    for (int b = 0; b < BLOCKS; ++b) column[b] = M::weights(w + b * w_block);
    for (int r = 0; r < ROWS; ++r) {
        const typename M::One one = M::one(x + r * x_row);
        for (int b = 0; b < BLOCKS; ++b) sum[r][b] = M::add(sum[r][b], one, column[b]);
    }
    if constexpr (STEPS > 1) add_steps<M, ROWS, BLOCKS, STEPS - 1>(sum, x + X_STEP<M>, x_row, w + 64, w_block);
}

template <class M, int ROWS, int BLOCKS>
inline void tile(const M& m, const char* weights, const Product& p, int row, int block, int step, int steps, bool fetch = false) {
    const std::ptrdiff_t x_row = x_is_packed<M> ? 4 : p.x_stride * M::SIZE, w_block = std::ptrdiff_t(p.columns) * LANES * M::SIZE;
    const char* x = x_at<M>(p, row) + step * X_STEP<M>;
    const char* w = weights + block * w_block + std::ptrdiff_t(step) * 64;
    typename M::Sum sum[ROWS][BLOCKS];
    for (int r = 0; r < ROWS; ++r)
        for (int b = 0; b < BLOCKS; ++b) sum[r][b] = m.begin(p, row + r, block + b);
    for (int s = 0; s < steps; s += M::WRITTEN_OUT, x += X_STEP<M> * M::WRITTEN_OUT, w += 64 * M::WRITTEN_OUT) {
        if (fetch)
            for (int b = 0; b < BLOCKS; ++b)
                for (int i = 0; i < M::WRITTEN_OUT; ++i) M::fetch(w + (BLOCKS + b) * w_block + 64 * i);
        add_steps<M, ROWS, BLOCKS, M::WRITTEN_OUT>(sum, x, x_row, w, w_block);
    }
    if constexpr (M::IN_MEMORY) {  // `end` is long: so that compilers keep the sums above in registers, it has them from memory
        alignas(64) std::int32_t raw[ROWS][BLOCKS][LANES];
        for (int r = 0; r < ROWS; ++r)
            for (int b = 0; b < BLOCKS; ++b) M::put(sum[r][b], raw[r][b]);
        for (int r = 0; r < ROWS; ++r)
            for (int b = 0; b < BLOCKS; ++b) m.end(raw[r][b], p, row + r, block + b);
    } else {
        for (int r = 0; r < ROWS; ++r)
            for (int b = 0; b < BLOCKS; ++b) m.end(sum[r][b], p, row + r, block + b);
    }
}

// The rows from `row` to the last beside BLOCKS blocks: tiles of ROWS, then of half as many.
template <class M, int ROWS, int BLOCKS>
inline void tiles(const M& m, const char* weights, const Product& p, int row, int block, int step, int steps) {
    // beside the first rows, the next panel is sent for
    bool fetch = ROWS == M::ROWS && p.rows >= 4 * ROWS && block + 2 * BLOCKS <= p.last;
    for (; row + ROWS <= p.rows; row += ROWS, fetch = false) tile<M, ROWS, BLOCKS>(m, weights, p, row, block, step, steps, fetch);
    if constexpr (ROWS > 1)
        if (row < p.rows) tiles<M, ROWS / 2, BLOCKS>(m, weights, p, row, block, step, steps);
}

// All rows beside the blocks from `block` to the last: BLOCKS at a time, then half as many.
template <class M, int ROWS, int BLOCKS>
inline void panels(const M& m, const char* weights, const Product& p, int block, int step, int steps) {
    const auto fits = [&](int left) { return left >= BLOCKS && (BLOCKS < 3 || left != BLOCKS + 1); };  // never one block alone at the end
    for (; fits(p.last - block); block += BLOCKS) tiles<M, ROWS, BLOCKS>(m, weights, p, 0, block, step, steps);
    if constexpr (BLOCKS > 1)
        if (block < p.last) panels<M, ROWS, BLOCKS - BLOCKS / 2>(m, weights, p, block, step, steps);
}

constexpr int ROWS_IN_TURN = 96;  // rows of x that stay near while the weights pass by

template <class M>
inline void product_by(const M& m, const void* packed, const Product& p) {
    const char* weights = static_cast<const char*>(packed);
    const int steps = p.columns * M::SIZE / 4;
    if (p.rows == 1) return panels<M, 1, M::ONE_BLOCKS>(m, weights, p, p.first, 0, steps);
    if (p.rows < M::ROWS) return panels<M, 2, M::FEW_BLOCKS>(m, weights, p, p.first, 0, steps);
    for (int row = 0; row < p.rows; row += ROWS_IN_TURN) {
        Product part = p;
        part.rows = p.rows - row < ROWS_IN_TURN ? p.rows - row : ROWS_IN_TURN;
        part.x = x_at<M>(p, row);
        part.y = p.y + row * p.y_stride;
        if (p.start) part.start = p.start + row * p.start_stride;
        if (p.x_scale) part.x_scale = p.x_scale + row;
        std::uint16_t* const halves = p.halves ? p.halves + row * p.halves_stride : nullptr;
        const int at_once = M::STEPS && part.rows > M::ROWS ? M::STEPS : steps;
        for (int step = 0; step < steps; step += at_once) {
            const bool last = steps - step <= at_once;
            part.halves = last ? halves : nullptr;
            panels<M, M::ROWS, M::BLOCKS>(m, weights, part, p.first, step, last ? steps - step : at_once);
            part.start = part.y;
            part.start_stride = part.y_stride;
        }
    }
}

// What float32 and bfloat16 share: sums are lanes of float32.
template <class V>
struct FloatSums {
    static void fetch(const char* from) { V::fetch(from); }
    static constexpr bool IN_MEMORY = false;
    static constexpr int WRITTEN_OUT = 1;
    using Sum = V;
    static V begin(const Product& p, int row, int block) {
        return p.start ? V::load(p.start + row * p.start_stride + block * LANES) : V::set(0);
    }
    static void end(V sum, const Product& p, int row, int block) {
        if (p.halves) sum.store_bf16(p.halves + row * p.halves_stride + block * LANES);
        else sum.store(p.y + row * p.y_stride + block * LANES);
    }
};

template <class V>
struct Floats : FloatSums<V> {
    using Weights = V;
    using One = V;
    static constexpr int SIZE = 4;
    static V weights(const char* from) { return V::load(reinterpret_cast<const float*>(from)); }
    static V one(const char* from) { return V::set(*reinterpret_cast<const float*>(from)); }
    static V add(V sum, V one, V column) { return fma(one, column, sum); }
};
