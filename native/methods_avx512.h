// The products of the levels with AVX-512; included within the namespace of a level, after products.inl and integers.inl.

struct F32 : Floats<V> {
    static constexpr int ROWS = 8, BLOCKS = 3, FEW_BLOCKS = 8, ONE_BLOCKS = 8, STEPS = 128;
};

#ifdef ESCRIBA_BF16_INSTRUCTIONS
struct BF16 : FloatSums<V> {
    using Weights = __m512bh;
    using One = __m512bh;
    static constexpr int SIZE = 2, ROWS = 8, BLOCKS = 3, FEW_BLOCKS = 8, ONE_BLOCKS = 8, STEPS = 128;
    static __m512bh weights(const char* from) {
        __m512bh w;
        std::memcpy(&w, from, sizeof w);
        return w;
    }
    static __m512bh one(const char* from) {
        std::int32_t pair;
        std::memcpy(&pair, from, 4);
        const __m512i pairs = _mm512_set1_epi32(pair);
        __m512bh x;
        std::memcpy(&x, &pairs, sizeof x);
        return x;
    }
    static V add(V sum, __m512bh x, __m512bh w) { return V::of(_mm512_dpbf16_ps(sum.v, w, x)); }
};
#else
struct BF16 : PairsWidened<V> {
    static constexpr int ROWS = 8, BLOCKS = 2, FEW_BLOCKS = 4, ONE_BLOCKS = 8, STEPS = 128;
};
#endif

struct INT8 {
    const float* scales;
    const std::int32_t* sums;
    using Sum = __m512i;
    using Weights = __m512i;
    using One = __m512i;
    static constexpr int SIZE = 1, ROWS = 8, BLOCKS = 3, FEW_BLOCKS = 8, ONE_BLOCKS = 8, STEPS = 0;
    __m512i begin(const Product&, int, int block) const {
        return _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_loadu_si512(sums + block * LANES));
    }
    static void fetch(const char* from) { V::fetch(from); }
    static constexpr bool IN_MEMORY = true;
    static constexpr int WRITTEN_OUT = 8;  // gcc copies every sum at the ends of a turn
    static void put(__m512i sum, std::int32_t* to) { _mm512_store_si512(to, sum); }
    void end(const std::int32_t* sum, const Product& p, int row, int block) const {
        end_int8(V::of(_mm512_cvtepi32_ps(_mm512_loadu_si512(sum))), scales, p, row, block);
    }
    static __m512i weights(const char* from) { return _mm512_loadu_si512(from); }
    static __m512i one(const char* from) {
        std::int32_t four;
        std::memcpy(&four, from, 4);
        return _mm512_set1_epi32(four);
    }
    static __m512i add(__m512i sum, __m512i x, __m512i w) { return _mm512_dpbusd_epi32(sum, x, w); }
};
