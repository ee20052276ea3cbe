// A stand-in for bcryptprimitives.dll, which Debian's wine 8 lacks: programs
// built by Go ask ProcessPrng for random bytes as they start.

#include <windows.h>
#include <ntsecapi.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size)
{
    return RtlGenRandom(data, size);
}
