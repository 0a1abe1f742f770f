// The level that every processor has: plain C++, which compilers turn into SSE2 or NEON.
#include "kernels.h"
#include "lanes.h"

namespace escriba { namespace plain {
using V = PlainLanes<float>;
#include "formulas.inl"
#include "products.inl"
#include "integers.inl"

struct F32 : Floats<V> {  // compilers keep the sums of one row in registers, not those of two
    static constexpr int ROWS = 1, BLOCKS = 2, FEW_BLOCKS = 2, ONE_BLOCKS = 2, STEPS = 0, WRITTEN_OUT = 4;
};

struct BF16 : PairsWidened<V> {
    static constexpr int ROWS = 1, BLOCKS = 1, FEW_BLOCKS = 1, ONE_BLOCKS = 1, STEPS = 0, WRITTEN_OUT = 4;
};

struct INT8 {
    const float* scales;
    const std::int32_t* sums;
    struct Sum { std::int32_t v[LANES]; };
    struct Weights { const std::int8_t* v; };
    struct One { const std::uint8_t* v; };
    static constexpr int SIZE = 1, ROWS = 2, BLOCKS = 1, FEW_BLOCKS = 1, ONE_BLOCKS = 1, STEPS = 0;
    static void fetch(const char* from) { V::fetch(from); }
    static constexpr bool IN_MEMORY = false;
    static constexpr int WRITTEN_OUT = 1;
    Sum begin(const Product&, int, int block) const {
        Sum s;
        for (int i = 0; i < LANES; ++i) s.v[i] = -sums[block * LANES + i];
        return s;
    }
    void end(Sum sum, const Product& p, int row, int block) const {
        V total;
        for (int i = 0; i < LANES; ++i) total.v[i] = float(sum.v[i]);
        end_int8(total, scales, p, row, block);
    }
    static Weights weights(const char* from) { return {reinterpret_cast<const std::int8_t*>(from)}; }
    static One one(const char* from) { return {reinterpret_cast<const std::uint8_t*>(from)}; }
    static Sum add(Sum sum, One x, Weights w) {
        for (int i = 0; i < LANES; ++i)
            for (int k = 0; k < 4; ++k) sum.v[i] += int(x.v[k]) * int(w.v[4 * i + k]);
        return sum;
    }
};

#include "entries_of_level.inl"
} }  // namespace escriba::plain

namespace escriba {
const Kernels& kernels_plain() {
    static const Kernels table = plain::table_of_level("plain");
    return table;
}
}  // namespace escriba
