/*
 * Lets user-mode Linux before 6.14 run where a processor has AMX.
 *
 * Such a kernel sets the floating-point registers of its processes by PTRACE_SETREGSET with a buffer of
 * 2,696 bytes: enough up to AVX-512, and the host takes nothing but its whole set, which is 11,008 with
 * AMX. It refuses (EFAULT), and the guest ends in fatal_sigsegv at its first process. Loaded before the C
 * library (LD_PRELOAD), this reads the whole set, puts what was given at its head, and sets it again.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

static long (*real)(int, long, void *, void *);

__attribute__((constructor)) static void find_real(void)
{
	real = (long (*)(int, long, void *, void *))dlsym(RTLD_NEXT, "ptrace");
}

long ptrace(enum __ptrace_request request, ...)
{
	/* One thread of that kernel traces. */
	static unsigned char bytes[1 << 16];
	struct iovec whole = { bytes, sizeof bytes };
	const struct iovec *part;
	va_list list;
	long pid, result;
	void *address, *data;

	va_start(list, request);
	pid = va_arg(list, long);
	address = va_arg(list, void *);
	data = va_arg(list, void *);
	va_end(list);
	result = real(request, pid, address, data);
	if (result != -1 || errno != EFAULT || (int)request != PTRACE_SETREGSET || (long)address != NT_X86_XSTATE)
		return result;
	part = data;
	if (real(PTRACE_GETREGSET, pid, address, &whole) == -1 || whole.iov_len < part->iov_len)
		return -1;
	memcpy(bytes, part->iov_base, part->iov_len);
	return real(PTRACE_SETREGSET, pid, address, &whole);
}
