/* By its name and place the library is a module of Python, so that every tool that builds and installs such modules handles it. It is
   opened with ctypes and never imported: so this is all that a module must have, and no headers of Python are needed to build it. */
#if defined(_WIN32)
__declspec(dllexport)
#endif
void* PyInit__kernels(void);

void* PyInit__kernels(void) { return 0; }
