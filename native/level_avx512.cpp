// The level of processors with AVX-512 and its products of bytes (VNNI): servers since 2019, Zen 4 and later.
#include <immintrin.h>

#include <cstring>

#include "kernels.h"

namespace escriba { namespace avx512 {
#include "exponential.inl"
#include "vec_avx512.h"
using V = Lanes;
#include "formulas.inl"
#include "products.inl"
#include "integers.inl"
#include "methods_avx512.h"
#include "entries_of_level.inl"
} }  // namespace escriba::avx512

namespace escriba {
const Kernels& kernels_avx512() {
    static const Kernels table = avx512::table_of_level("avx512");
    return table;
}
}  // namespace escriba
