// The level of processors with AMX, tiles of 16 rows of 64 bytes: Xeons since 2023. Sixteen and more rows of bfloat16 and int8 are its own;
// the rest is that of AVX-512.
#include <immintrin.h>

#include <cstring>

#include "kernels.h"

#ifdef ESCRIBA_EMULATED_AMX
#include "tests/amx_emulated.h"
#endif
#define ESCRIBA_BF16_INSTRUCTIONS

namespace escriba { namespace amx {
#include "exponential.inl"
#include "vec_avx512.h"
using V = Lanes;
#include "formulas.inl"
#include "products.inl"
#include "integers.inl"
#include "methods_avx512.h"
#include "entries_of_level.inl"
#include "methods_amx.h"
} }  // namespace escriba::amx

namespace escriba {
const Kernels& kernels_amx() {
    static const Kernels table = amx::table_with_tiles();
    return table;
}
}  // namespace escriba
