// Packs a matrix, or its transpose, into blocks; included by every level, whose vector is V. Fast, as training packs at every step.

// As many columns of 16 rows as fill 64 bytes of a row of packed numbers.
inline void rows_to_packed(const float* from, std::ptrdiff_t stride, std::uint16_t* to) {
    std::uint16_t rowwise[2 * LANES * LANES];
    for (int i = 0; i < LANES; ++i, from += stride) {
        V::load(from).store_bf16(rowwise + 2 * LANES * i);
        V::load(from + LANES).store_bf16(rowwise + 2 * LANES * i + LANES);
    }
    V::transpose(reinterpret_cast<const char*>(rowwise), 64, reinterpret_cast<char*>(to));
}
template <class Same>
inline void rows_to_packed(const Same* from, std::ptrdiff_t stride, Same* to) {
    V::transpose(reinterpret_cast<const char*>(from), stride * std::ptrdiff_t(sizeof(Same)), reinterpret_cast<char*>(to));
}

// A step of packed weights from columns of the matrix, each of which is a row of 16 in its transpose.
inline void columns_to_packed(const float* from, std::ptrdiff_t, float* to) { V::load(from).store(to); }
inline void columns_to_packed(const float* from, std::ptrdiff_t stride, std::uint16_t* to) {
    V::store_pairs(V::load(from), V::load(from + stride), to);
}
inline void columns_to_packed(const std::uint16_t* from, std::ptrdiff_t stride, std::uint16_t* to) {
    V::store_pairs(V::load_bf16(from), V::load_bf16(from + stride), to);
}

template <class From, class To>
inline void pack_chunk(const Matrix& matrix, int block, int chunk, To* to) {
    constexpr int CHUNK = 64 / sizeof(To), IN_STEP = 4 / sizeof(To);
    const int row = block * LANES;
    const int rows = matrix.rows - row < LANES ? matrix.rows - row : LANES;
    const int wide = matrix.columns - chunk < CHUNK ? matrix.columns - chunk : CHUNK;
    if (rows <= 0 || wide <= 0) {
        std::memset(to, 0, 64 * LANES);
        return;
    }
    std::ptrdiff_t stride = matrix.stride;
    const From* at = static_cast<const From*>(matrix.from) + (matrix.transposed ? chunk * stride + row : row * stride + chunk);
    From whole[CHUNK * LANES];  // where the matrix ends within the chunk: what there is, and zeros
    if (rows < LANES || wide < CHUNK) {
        std::memset(whole, 0, sizeof whole);
        const int outer = matrix.transposed ? wide : rows, inner = matrix.transposed ? rows : wide;
        const int length = matrix.transposed ? LANES : CHUNK;
        for (int i = 0; i < outer; ++i) std::memcpy(whole + i * length, at + i * stride, inner * sizeof(From));
        at = whole;
        stride = length;
    }
    if (matrix.transposed)
        for (int k = 0; k < CHUNK; k += IN_STEP) columns_to_packed(at + k * stride, stride, to + k * LANES);
    else rows_to_packed(at, stride, to);
}

// In the order in which the matrix lies in memory.
template <class From, class To>
inline void pack_matrix(const Matrix& matrix, int first, int last, int columns, To* to) {
    constexpr int CHUNK = 64 / sizeof(To);
    if (matrix.transposed) {
        for (int chunk = 0; chunk < columns; chunk += CHUNK)
            for (int block = first; block < last; ++block)
                pack_chunk<From>(matrix, block, chunk, to + (std::ptrdiff_t(block) * columns + chunk) * LANES);
    } else {
        for (int block = first; block < last; ++block)
            for (int chunk = 0; chunk < columns; chunk += CHUNK)
                pack_chunk<From>(matrix, block, chunk, to + (std::ptrdiff_t(block) * columns + chunk) * LANES);
    }
}
