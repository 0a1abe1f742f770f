// Sixteen floats in one register of AVX-512, with the operations of lanes.h; included within the namespace of a level.
// (level_avx512.cpp, level_avx512_bf16.cpp and level_amx.cpp each have it in a namespace of their own, and include <immintrin.h> before.)
// ESCRIBA_BF16_INSTRUCTIONS: the level has those of AVX512-BF16; their conversion turns numbers below 2^-126 into zeros.

struct Lanes {
    using T = float;
    __m512 v;

    static Lanes of(__m512 x) { Lanes r; r.v = x; return r; }
    static Lanes set(float x) { return of(_mm512_set1_ps(x)); }
    static Lanes load(const float* from) { return of(_mm512_loadu_ps(from)); }
    void store(float* to) const { _mm512_storeu_ps(to, v); }

    static void fetch(const char* from) { _mm_prefetch(from, _MM_HINT_T1); }  // to the second cache

    static Lanes load_bf16(const std::uint16_t* from) {
        const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
        return of(_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16)));
    }
    void store_bf16(std::uint16_t* to) const {
#ifdef ESCRIBA_BF16_INSTRUCTIONS
        const __m256bh half = _mm512_cvtneps_pbh(v);
        std::memcpy(to, &half, sizeof half);
#else
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(halved()));
#endif
    }
    __m512i halved() const {  // bfloat16 in the lower half of each
#ifdef ESCRIBA_BF16_INSTRUCTIONS
        const __m256bh half = _mm512_cvtneps_pbh(v);
        __m256i bits;
        std::memcpy(&bits, &half, sizeof bits);
        return _mm512_cvtepu16_epi32(bits);
#else
        const __m512i bits = _mm512_castps_si512(v);
        const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
        const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
        const __m512i none = _mm512_or_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(0x40));  // not a number stays none
        return _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), none);
#endif
    }
    static void store_pairs(Lanes first, Lanes second, std::uint16_t* to) {
        _mm512_storeu_si512(to, _mm512_or_si512(first.halved(), _mm512_slli_epi32(second.halved(), 16)));
    }
    static void transpose(const char* from, std::ptrdiff_t stride, char* to) {
        __m512i a[16], b[16];
        for (int i = 0; i < 16; ++i) a[i] = _mm512_loadu_si512(from + i * stride);
        for (int i = 0; i < 16; i += 2) {  // pairs of words of two rows
            b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
            b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
        }
        for (int i = 0; i < 16; i += 4)  // of four rows: a[i + c] has column c of every quarter
            for (int c = 0; c < 2; ++c) {
                a[i + 2 * c] = _mm512_unpacklo_epi64(b[i + c], b[i + 2 + c]);
                a[i + 2 * c + 1] = _mm512_unpackhi_epi64(b[i + c], b[i + 2 + c]);
            }
        for (int c = 0; c < 4; ++c) {  // of eight: quarters 0 and 2, and 1 and 3
            b[c] = _mm512_shuffle_i32x4(a[c], a[4 + c], 0x88);
            b[4 + c] = _mm512_shuffle_i32x4(a[c], a[4 + c], 0xdd);
            b[8 + c] = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0x88);
            b[12 + c] = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0xdd);
        }
        for (int c = 0; c < 4; ++c) {
            _mm512_storeu_si512(to + 64 * c, _mm512_shuffle_i32x4(b[c], b[8 + c], 0x88));
            _mm512_storeu_si512(to + 64 * (4 + c), _mm512_shuffle_i32x4(b[4 + c], b[12 + c], 0x88));
            _mm512_storeu_si512(to + 64 * (8 + c), _mm512_shuffle_i32x4(b[c], b[8 + c], 0xdd));
            _mm512_storeu_si512(to + 64 * (12 + c), _mm512_shuffle_i32x4(b[4 + c], b[12 + c], 0xdd));
        }
    }
    // 16 pairs of bfloat16: the first of each, and the second
    static void load_pairs(const char* from, Lanes& first, Lanes& second) { split(_mm512_loadu_si512(from), first, second); }
    static void set_pair(const char* from, Lanes& first, Lanes& second) {
        std::int32_t pair;
        std::memcpy(&pair, from, 4);
        split(_mm512_set1_epi32(pair), first, second);
    }
    static void split(__m512i pairs, Lanes& first, Lanes& second) {
        first = of(_mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)));
        second = of(_mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(std::int32_t(0xffff0000)))));
    }
    void store_offset(std::uint8_t* to) const {
        const __m128i bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_xor_si128(bytes, _mm_set1_epi8(-128)));
    }

    float sum() const {
        const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
        const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
        const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
    }
    float largest() const {
        const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
        const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
        const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
    }
};

inline Lanes operator+(Lanes a, Lanes b) { return Lanes::of(_mm512_add_ps(a.v, b.v)); }
inline Lanes operator-(Lanes a, Lanes b) { return Lanes::of(_mm512_sub_ps(a.v, b.v)); }
inline Lanes operator*(Lanes a, Lanes b) { return Lanes::of(_mm512_mul_ps(a.v, b.v)); }
inline Lanes operator/(Lanes a, Lanes b) { return Lanes::of(_mm512_div_ps(a.v, b.v)); }
inline Lanes fma(Lanes a, Lanes b, Lanes c) { return Lanes::of(_mm512_fmadd_ps(a.v, b.v, c.v)); }
inline Lanes max(Lanes a, Lanes b) { return Lanes::of(_mm512_max_ps(a.v, b.v)); }
inline Lanes min(Lanes a, Lanes b) { return Lanes::of(_mm512_min_ps(a.v, b.v)); }
inline Lanes abs(Lanes a) { return Lanes::of(_mm512_andnot_ps(_mm512_set1_ps(-0.0f), a.v)); }
inline Lanes sqrt(Lanes a) { return Lanes::of(_mm512_sqrt_ps(a.v)); }
// x = n log 2 + r; 2^n rounds into the numbers below 2^-126, and to infinity
inline Lanes exp(Lanes a) {
    const __m512 x = _mm512_min_ps(_mm512_set1_ps(EXP_MOST), _mm512_max_ps(_mm512_set1_ps(EXP_LEAST), a.v));  // so: not a number stays none
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(EXP_LOG2_E)), 0);
    const Lanes r = fma(Lanes::of(n), Lanes::set(-EXP_LN2_LOW), fma(Lanes::of(n), Lanes::set(-EXP_LN2_HIGH), Lanes::of(x)));
    return Lanes::of(_mm512_scalef_ps(exp_near_zero(r).v, n));
}
