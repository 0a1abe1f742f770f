// The elementwise work of the engine, as a level gives it; engine_cells.inl says what each function does.
#pragma once
#include <cstddef>

namespace escriba {

struct EngineKernels {
    void (*rnn_cell)(int activation, const float* x, const float* r, float* after, int blocks);
    void (*gru_cell)(const float* x, const float* r, const float* before, float* after, int blocks);
    void (*gru_reset)(const float* x, const float* r, const float* before, float* left, float* keep, int blocks);
    void (*gru_fresh)(const float* x, const float* r, const float* keep, const float* before, float* after, int blocks);
    void (*lstm_cell)(const float* x, const float* r, float* c, float* after, int blocks);
    void (*mingru_cell)(const float* x, std::ptrdiff_t x_stride, float* h, float* after, std::ptrdiff_t stride, int steps, int blocks);
    void (*conv_step)(const float* v, std::ptrdiff_t stride, const float* weight, std::ptrdiff_t units, const float* bias, int taps,
                      float* y, int blocks);
    void (*gate_by)(const float* h, int h_step, const float* g, int g_step, float* y, int blocks);
    void (*rms_norm)(const float* x, const float* weight, float* y, int n, int count);
    double (*sum_exp)(const float* x, int n, float* largest);
};

}  // namespace escriba
