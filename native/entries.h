    // of engine_cells.inl, train_cells.inl and train_block.inl: a line for each function
    const EngineKernels* engine;  // engine_kernels.h
    const BlockKernels* block;  // train_block.h
    void (*classic_forward)(const ClassicForward& step);  // train_classic.h
    void (*classic_backward)(const ClassicBackward& step);
