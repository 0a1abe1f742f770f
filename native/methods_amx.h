// Products in tiles of AMX; included within the namespace of its level, after methods_avx512.h.
//
// A block of packed weights is a column of tiles as it lies: 1024 bytes are 16 rows of 64. Tiles 0 to 3 are sums (2 of 16 rows of x by 2
// blocks), 4 and 5 hold x, 6 and 7 weights. All are whole: what is left of x after whole sixteens is given to AVX-512.

// What `_tile_loadconfig` reads: palette 1, and for each of the 8 tiles 64 bytes a row (as 16 bits each) and 16 rows. It is constant, as
// compilers do not know that all of it is read.
alignas(64) static const std::uint8_t TILES[64] = {
    1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    64, 0, 64, 0, 64, 0, 64, 0, 64, 0, 64, 0, 64, 0, 64, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0};
constexpr int TILE = 16;
constexpr int ROWS_IN_TURN_OF_TILES = 64, STEPS_OF_TILES = 128;  // so that x and weights of a turn fit in the nearest cache

struct HalvesInTiles {
    using Method = BF16;
    static constexpr bool PUT_DOWN = true;  // sums may be put down in y
};
struct BytesInTiles {
    using Method = INT8;
    static constexpr bool PUT_DOWN = false;
};

// Tiles are named by constants, so each is written out.
template <class How, int ROWS, int BLOCKS>
inline void multiply_tiles(const char* x, std::ptrdiff_t x_row, const char* w, std::ptrdiff_t w_block, int steps) {
    for (int step = 0; step < steps; step += TILE, x += 64, w += 64 * TILE) {
        _tile_loadd(6, w, 64);
        if constexpr (BLOCKS == 2) _tile_loadd(7, w + w_block, 64);
        _tile_loadd(4, x, x_row);
        if constexpr (ROWS == 2) _tile_loadd(5, x + TILE * x_row, x_row);
        if constexpr (How::Method::SIZE == 2) {
            _tile_dpbf16ps(0, 4, 6);
            if constexpr (BLOCKS == 2) _tile_dpbf16ps(1, 4, 7);
            if constexpr (ROWS == 2) _tile_dpbf16ps(2, 5, 6);
            if constexpr (ROWS == 2 && BLOCKS == 2) _tile_dpbf16ps(3, 5, 7);
        } else {
            _tile_dpbusd(0, 4, 6);
            if constexpr (BLOCKS == 2) _tile_dpbusd(1, 4, 7);
            if constexpr (ROWS == 2) _tile_dpbusd(2, 5, 6);
            if constexpr (ROWS == 2 && BLOCKS == 2) _tile_dpbusd(3, 5, 7);
        }
    }
}

template <class How, int ROWS, int BLOCKS>
inline void tiles_of_amx(const typename How::Method& m, const char* weights, const Product& p, int row, int block, int step, int steps) {
    using M = typename How::Method;
    const std::ptrdiff_t x_row = p.x_stride * M::SIZE, w_block = std::ptrdiff_t(p.columns) * LANES * M::SIZE;
    if (How::PUT_DOWN && p.start) {
        const float* start = p.start + row * p.start_stride + block * LANES;
        const std::ptrdiff_t bytes = p.start_stride * 4;
        _tile_loadd(0, start, bytes);
        if constexpr (BLOCKS == 2) _tile_loadd(1, start + LANES, bytes);
        if constexpr (ROWS == 2) _tile_loadd(2, start + TILE * p.start_stride, bytes);
        if constexpr (ROWS == 2 && BLOCKS == 2) _tile_loadd(3, start + TILE * p.start_stride + LANES, bytes);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    multiply_tiles<How, ROWS, BLOCKS>(static_cast<const char*>(p.x) + row * x_row + std::ptrdiff_t(step) * 4, x_row,
                                      weights + block * w_block + std::ptrdiff_t(step) * 64, w_block, steps);
    if constexpr (How::PUT_DOWN) {
        float* y = p.y + row * p.y_stride + block * LANES;
        const std::ptrdiff_t bytes = p.y_stride * 4;
        _tile_stored(0, y, bytes);
        if constexpr (BLOCKS == 2) _tile_stored(1, y + LANES, bytes);
        if constexpr (ROWS == 2) _tile_stored(2, y + TILE * p.y_stride, bytes);
        if constexpr (ROWS == 2 && BLOCKS == 2) _tile_stored(3, y + TILE * p.y_stride + LANES, bytes);
    } else {
        alignas(64) std::int32_t sums[ROWS * TILE][BLOCKS * LANES];
        constexpr std::ptrdiff_t bytes = BLOCKS * 64;
        _tile_stored(0, sums[0], bytes);
        if constexpr (BLOCKS == 2) _tile_stored(1, sums[0] + LANES, bytes);
        if constexpr (ROWS == 2) _tile_stored(2, sums[TILE], bytes);
        if constexpr (ROWS == 2 && BLOCKS == 2) _tile_stored(3, sums[TILE] + LANES, bytes);
        for (int r = 0; r < ROWS * TILE; ++r)
            for (int b = 0; b < BLOCKS; ++b) {
                std::int32_t* sum = sums[r] + b * LANES;
                M::put(_mm512_add_epi32(m.begin(p, row + r, block + b), _mm512_load_si512(sum)), sum);
                m.end(sum, p, row + r, block + b);
            }
    }
}

template <class How, int BLOCKS>
inline void column_of_amx(const typename How::Method& m, const char* weights, const Product& p, int block, int step, int steps) {
    int row = 0;
    for (; row + 2 * TILE <= p.rows; row += 2 * TILE) tiles_of_amx<How, 2, BLOCKS>(m, weights, p, row, block, step, steps);
    if (row < p.rows) tiles_of_amx<How, 1, BLOCKS>(m, weights, p, row, block, step, steps);
}

// The rows from `row` on, as a product of their own.
template <class M>
inline Product rows_from(const Product& p, int row, int rows) {
    Product part = p;
    part.rows = rows;
    part.x = static_cast<const char*>(p.x) + row * p.x_stride * M::SIZE;
    part.y = p.y + row * p.y_stride;
    if (p.start) part.start = p.start + row * p.start_stride;
    if (p.x_scale) part.x_scale = p.x_scale + row;
    return part;
}

template <class How>
inline void product_in_tiles(const typename How::Method& m, const void* packed, const Product& p) {
    using M = typename How::Method;
    const char* weights = static_cast<const char*>(packed);
    const int steps = p.columns * M::SIZE / 4, whole = p.rows / TILE * TILE;
    if (whole) {
        _tile_loadconfig(TILES);
        for (int row = 0; row < whole; row += ROWS_IN_TURN_OF_TILES) {
            Product part = rows_from<M>(p, row, whole - row < ROWS_IN_TURN_OF_TILES ? whole - row : ROWS_IN_TURN_OF_TILES);
            const int at_once = How::PUT_DOWN && part.rows > 2 * TILE ? STEPS_OF_TILES : steps;
            for (int step = 0; step < steps; step += at_once) {
                const int count = steps - step < at_once ? steps - step : at_once;
                int block = p.first;
                for (; block + 2 <= p.last; block += 2) column_of_amx<How, 2>(m, weights, part, block, step, count);
                if (block < p.last) column_of_amx<How, 1>(m, weights, part, block, step, count);
                part.start = part.y;
                part.start_stride = part.y_stride;
            }
        }
        _tile_release();
    }
    if (whole < p.rows) product_by(m, packed, rows_from<M>(p, whole, p.rows - whole));
}

inline void product_bf16_in_tiles(const std::uint16_t* weights, const Product& p) {
    Product sums = p;
    sums.halves = nullptr;
    product_in_tiles<HalvesInTiles>(BF16{}, weights, sums);
    const std::ptrdiff_t first = p.first * LANES, n = p.last * LANES - first;
    for (int row = 0; p.halves && row < p.rows; ++row)
        to_bf16(p.y + row * p.y_stride + first, p.halves + row * p.halves_stride + first, n);
}
inline void product_int8_in_tiles(const std::int8_t* weights, const float* scales, const std::int32_t* sums, const Product& p) {
    product_in_tiles<BytesInTiles>(INT8{scales, sums}, weights, p);
}

inline Kernels table_with_tiles() {
    Kernels k = table_of_level("amx");
    k.product_bf16 = product_bf16_in_tiles;
    k.product_int8 = product_int8_in_tiles;
    return k;
}
