#include "textflag.h"

// write(rtminFD, &rtminOne, 8), on the signal stack. The kernel gives all
// registers back.
TEXT ·onRTMin(SB),NOSPLIT|NOFRAME,$0-0
	MOVL	$1, AX
	MOVL	·rtminFD(SB), DI
	LEAQ	·rtminOne(SB), SI
	MOVL	$8, DX
	SYSCALL
	RET

TEXT ·rtminHandler(SB),NOSPLIT,$0-8
	LEAQ	·onRTMin(SB), AX
	MOVQ	AX, ret+0(FP)
	RET
