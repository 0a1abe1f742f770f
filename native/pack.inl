// The templates of pack.h.
#include <cmath>
#include <cstring>

namespace escriba {

inline void Free::operator()(void* memory) const {
    // the address that was got stands before the data
    ::operator delete[](static_cast<void**>(memory)[-1]);
}

template <class T>
Buffer<T>::Buffer(std::size_t n) : size(n) {
    const std::size_t bytes = n * sizeof(T) + 64;
    char* got = static_cast<char*>(::operator new[](bytes + 128));
    char* at = got + 64 + (64 - (reinterpret_cast<std::uintptr_t>(got) & 63));
    reinterpret_cast<void**>(at)[-1] = got;
    std::memset(at, 0, bytes);
    data.reset(reinterpret_cast<T*>(at));
}

inline std::uint16_t bf16_of(float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, 4);
    if ((bits & 0x7fffffff) > 0x7f800000) return std::uint16_t((bits >> 16) | 0x40);  // not a number stays none
    return std::uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// To the nearest, ties to even; for |x| < 2^22. The sum with 1.5 * 2^23 has no room for a fraction.
inline std::int32_t nearest(float x) {
    const float sum = x + 12582912.0f;
    std::int32_t bits;
    std::memcpy(&bits, &sum, 4);
    return bits - 0x4b400000;
}

inline Packed room_for(int rows, int columns, Precision precision) {
    Packed p;
    p.rows = (rows + LANES - 1) / LANES * LANES;
    p.columns = (columns + K_STEP - 1) / K_STEP * K_STEP;
    p.precision = precision;
    const std::size_t size = std::size_t(p.rows) * p.columns;
    if (precision == Precision::F32) p.f32 = Buffer<float>(size);
    if (precision == Precision::BF16) p.bf16 = Buffer<std::uint16_t>(size);
    if (precision == Precision::INT8) {
        p.int8 = Buffer<std::int8_t>(size);
        p.scales = Buffer<float>(p.rows);
        p.sums = Buffer<std::int32_t>(p.rows);
    }
    return p;
}

template <class Row>
Packed pack(const float* weights, std::ptrdiff_t stride, int rows, int columns, Precision precision, Row row, const float* scales) {
    Packed p = room_for(rows, columns, precision);
    const std::size_t block_size = std::size_t(LANES) * p.columns;
    for (int i = 0; i < rows; ++i) {
        const int from = row(i);
        if (from < 0) continue;
        const float* w = weights + from * stride;
        const std::size_t block = i / LANES * block_size;
        const int lane = i % LANES;
        if (precision == Precision::F32) {
            for (int k = 0; k < columns; ++k) p.f32[block + std::size_t(k) * LANES + lane] = w[k];
        } else if (precision == Precision::BF16) {
            for (int k = 0; k < columns; ++k) p.bf16[block + std::size_t(k / 2) * LANES * 2 + lane * 2 + k % 2] = bf16_of(w[k]);
        } else {
            float most = 0;
            for (int k = 0; k < columns; ++k) most = std::fabs(w[k]) > most ? std::fabs(w[k]) : most;
            const float scale = scales ? scales[from] : most / 127;
            std::int32_t sum = 0;
            for (int k = 0; scale > 0 && k < columns; ++k) {
                const float at = w[k] / scale;
                const std::int32_t q = nearest(at < -127 ? -127.0f : at > 127 ? 127.0f : at);
                p.int8[block + std::size_t(k / 4) * LANES * 4 + lane * 4 + k % 4] = std::int8_t(q);
                sum += q;
            }
            p.scales[i] = scale;
            p.sums[i] = 128 * sum;
        }
    }
    return p;
}

inline void pack_blocks(const Kernels& kernels, const Packed& packed, const Matrix& matrix, int first, int last) {
    if (packed.precision == Precision::F32) kernels.pack_f32(matrix, first, last, packed.columns, packed.f32.get());
    else kernels.pack_bf16(matrix, first, last, packed.columns, packed.bf16.get());
}

inline void pack_blocks_of_bf16(const Kernels& kernels, const Packed& packed, const Matrix& matrix, int first, int last) {
    kernels.pack_halves(matrix, first, last, packed.columns, packed.bf16.get());
}

inline void product(const Kernels& kernels, const Packed& weights, Product p) {
    p.columns = weights.columns;
    if (p.first >= p.last || p.rows == 0) return;
    if (weights.precision == Precision::F32) kernels.product_f32(weights.f32.get(), p);
    else if (weights.precision == Precision::BF16) kernels.product_bf16(weights.bf16.get(), p);
    else kernels.product_int8(weights.int8.get(), weights.scales.get(), weights.sums.get(), p);
}

}  // namespace escriba
