// Sixteen floats in two registers of AVX2, with the operations of lanes.h; included within the namespace of its level.

struct Lanes {
    using T = float;
    __m256 low, high;

    static Lanes of(__m256 low, __m256 high) { Lanes r; r.low = low; r.high = high; return r; }
    static Lanes set(float x) { return of(_mm256_set1_ps(x), _mm256_set1_ps(x)); }
    static Lanes load(const float* from) { return of(_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)); }
    void store(float* to) const { _mm256_storeu_ps(to, low); _mm256_storeu_ps(to + 8, high); }

    static __m256 widened(const std::uint16_t* from) {
        const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
    }
    static __m256i halved(__m256 v) {  // bfloat16 in the lower half of each
        const __m256i bits = _mm256_castps_si256(v);
        const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
        const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
        const __m256i none = _mm256_or_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(0x40));  // not a number stays none
        return _mm256_blendv_epi8(rounded, none, _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
    }
    static void fetch(const char* from) { _mm_prefetch(from, _MM_HINT_T1); }  // to the second cache

    static Lanes load_bf16(const std::uint16_t* from) { return of(widened(from), widened(from + 8)); }
    void store_bf16(std::uint16_t* to) const {
        const __m256i both = _mm256_permute4x64_epi64(_mm256_packus_epi32(halved(low), halved(high)), 0xd8);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), both);
    }
    static void store_pairs(Lanes first, Lanes second, std::uint16_t* to) {
        auto* at = reinterpret_cast<__m256i*>(to);
        _mm256_storeu_si256(at, _mm256_or_si256(halved(first.low), _mm256_slli_epi32(halved(second.low), 16)));
        _mm256_storeu_si256(at + 1, _mm256_or_si256(halved(first.high), _mm256_slli_epi32(halved(second.high), 16)));
    }
    static void transpose(const char* from, std::ptrdiff_t stride, char* to) {
        for (int i = 0; i < 2; ++i)
            for (int j = 0; j < 2; ++j) transpose_quarter(from + 8 * i * stride + 32 * j, stride, to + 8 * 64 * j + 32 * i);
    }
    static void transpose_quarter(const char* from, std::ptrdiff_t stride, char* to) {  // 8 rows of 8 words
        __m256i a[8], b[8];
        for (int i = 0; i < 8; ++i) a[i] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i * stride));
        for (int i = 0; i < 8; i += 2) {  // pairs of words of two rows
            b[i] = _mm256_unpacklo_epi32(a[i], a[i + 1]);
            b[i + 1] = _mm256_unpackhi_epi32(a[i], a[i + 1]);
        }
        for (int i = 0; i < 8; i += 4)  // of four rows: a[i + c] has column c of each half
            for (int c = 0; c < 2; ++c) {
                a[i + 2 * c] = _mm256_unpacklo_epi64(b[i + c], b[i + 2 + c]);
                a[i + 2 * c + 1] = _mm256_unpackhi_epi64(b[i + c], b[i + 2 + c]);
            }
        for (int c = 0; c < 4; ++c) {
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 64 * c), _mm256_permute2x128_si256(a[c], a[4 + c], 0x20));
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 64 * (4 + c)), _mm256_permute2x128_si256(a[c], a[4 + c], 0x31));
        }
    }
    // 16 pairs of bfloat16: the first of each, and the second
    static void load_pairs(const char* from, Lanes& first, Lanes& second) {
        const auto* at = reinterpret_cast<const __m256i*>(from);
        split(_mm256_loadu_si256(at), first.low, second.low);
        split(_mm256_loadu_si256(at + 1), first.high, second.high);
    }
    static void set_pair(const char* from, Lanes& first, Lanes& second) {
        std::int32_t pair;
        std::memcpy(&pair, from, 4);
        split(_mm256_set1_epi32(pair), first.low, second.low);
        first.high = first.low;
        second.high = second.low;
    }
    static void split(__m256i pairs, __m256& first, __m256& second) {
        first = _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
        second = _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(std::int32_t(0xffff0000))));
    }
    void store_offset(std::uint8_t* to) const {
        const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(low), _mm256_cvtps_epi32(high));
        const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);
        const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_xor_si128(bytes, _mm_set1_epi8(-128)));
    }

    float sum() const {
        const __m256 eight = _mm256_add_ps(low, high);
        const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
        const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
    }
    float largest() const {
        const __m256 eight = _mm256_max_ps(low, high);
        const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
        const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
    }
};

inline Lanes operator+(Lanes a, Lanes b) { return Lanes::of(_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)); }
inline Lanes operator-(Lanes a, Lanes b) { return Lanes::of(_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)); }
inline Lanes operator*(Lanes a, Lanes b) { return Lanes::of(_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)); }
inline Lanes operator/(Lanes a, Lanes b) { return Lanes::of(_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)); }
inline Lanes fma(Lanes a, Lanes b, Lanes c) {
    return Lanes::of(_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high));
}
inline Lanes max(Lanes a, Lanes b) { return Lanes::of(_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)); }
inline Lanes min(Lanes a, Lanes b) { return Lanes::of(_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)); }
inline Lanes abs(Lanes a) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return Lanes::of(_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high));
}
inline Lanes sqrt(Lanes a) { return Lanes::of(_mm256_sqrt_ps(a.low), _mm256_sqrt_ps(a.high)); }
// 2^n as two factors, so that their product rounds once into the numbers below 2^-126, and to infinity
inline __m256 times_power(__m256 x, __m256 n) {
    const __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1), bias = _mm256_set1_epi32(127);
    const __m256i one = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    const __m256i two = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(whole, half), bias), 23);
    return _mm256_mul_ps(_mm256_mul_ps(x, _mm256_castsi256_ps(one)), _mm256_castsi256_ps(two));
}
// x = n log 2 + r
inline Lanes exp(Lanes a) {
    const Lanes x = min(Lanes::set(EXP_MOST), max(Lanes::set(EXP_LEAST), a));  // in this order: not a number stays none
    const Lanes turns = x * Lanes::set(EXP_LOG2_E);
    const Lanes n = Lanes::of(_mm256_round_ps(turns.low, 8), _mm256_round_ps(turns.high, 8));
    const Lanes r = fma(n, Lanes::set(-EXP_LN2_LOW), fma(n, Lanes::set(-EXP_LN2_HIGH), x));
    const Lanes near = exp_near_zero(r);
    return Lanes::of(times_power(near.low, n.low), times_power(near.high, n.high));
}
