// The level of processors with AVX2 and FMA: those since about 2014.
#include <immintrin.h>

#include <cstring>

#include "kernels.h"

namespace escriba { namespace avx2 {
#include "exponential.inl"
#include "vec_avx2.h"
using V = Lanes;
#include "formulas.inl"
#include "products.inl"
#include "integers.inl"

struct F32 : Floats<V> {
    static constexpr int ROWS = 6, BLOCKS = 1, FEW_BLOCKS = 3, ONE_BLOCKS = 6, STEPS = 128;
};

struct BF16 : PairsWidened<V> {
    static constexpr int ROWS = 4, BLOCKS = 1, FEW_BLOCKS = 2, ONE_BLOCKS = 4, STEPS = 128;
};

// Four products of bytes in two sums of 16 bits: that of 255 and 127 would not fit, so x comes without its offset, as a size and a sign,
// and the sign goes to the weights: 2 * 127 * 127 fits. (-128 never comes, in x nor in the weights, except beside a weight of 0.)
struct INT8 {
    const float* scales;
    const std::int32_t* sums;  // not needed without the offset
    struct Sum { __m256i low, high; };
    struct Weights { __m256i low, high; };
    struct One { __m256i value, size; };
    static constexpr int SIZE = 1, ROWS = 4, BLOCKS = 1, FEW_BLOCKS = 2, ONE_BLOCKS = 4, STEPS = 0;
    Sum begin(const Product&, int, int) const { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
    static void fetch(const char* from) { V::fetch(from); }
    static constexpr bool IN_MEMORY = true;
    static constexpr int WRITTEN_OUT = 4;
    static void put(Sum sum, std::int32_t* to) {
        _mm256_store_si256(reinterpret_cast<__m256i*>(to), sum.low);
        _mm256_store_si256(reinterpret_cast<__m256i*>(to + 8), sum.high);
    }
    void end(const std::int32_t* sum, const Product& p, int row, int block) const {
        const auto* at = reinterpret_cast<const __m256i*>(sum);
        end_int8(V::of(_mm256_cvtepi32_ps(_mm256_loadu_si256(at)), _mm256_cvtepi32_ps(_mm256_loadu_si256(at + 1))), scales, p, row, block);
    }
    static Weights weights(const char* from) {
        const auto* at = reinterpret_cast<const __m256i*>(from);
        return {_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1)};
    }
    static One one(const char* from) {
        std::int32_t four;
        std::memcpy(&four, from, 4);
        const __m256i value = _mm256_xor_si256(_mm256_set1_epi32(four), _mm256_set1_epi8(-128));
        return {value, _mm256_abs_epi8(value)};
    }
    static __m256i with(__m256i sum, One x, __m256i w) {
        const __m256i pairs = _mm256_maddubs_epi16(x.size, _mm256_sign_epi8(w, x.value));
        return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
    static Sum add(Sum sum, One x, Weights w) { return {with(sum.low, x, w.low), with(sum.high, x, w.high)}; }
};

#include "entries_of_level.inl"
} }  // namespace escriba::avx2

namespace escriba {
const Kernels& kernels_avx2() {
    static const Kernels table = avx2::table_of_level("avx2");
    return table;
}
}  // namespace escriba
