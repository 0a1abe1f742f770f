// What Python calls: functions with C names, seen outside the library. All else in this folder is hidden.
//
// ESCRIBA_API int escriba_something(int level, const float* from, std::int64_t n);
//
// They take numbers and addresses, give a status (0: good) or nothing, and let no exception out. Who changes the arguments of one raises
// ESCRIBA_INTERFACE, and INTERFACE in src/escriba/_native/__init__.py: a library built from older sources is then left unused, not called.
#pragma once

#define ESCRIBA_INTERFACE 3

#if defined(_WIN32)
#define ESCRIBA_API extern "C" __declspec(dllexport)
#else
#define ESCRIBA_API extern "C" [[gnu::visibility("default")]]
#endif
