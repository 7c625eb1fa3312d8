#include "textflag.h"

// write(rtminFD, &rtminOne, 8), on the signal stack. The kernel gives all
// registers back.
TEXT ·onRTMin(SB),NOSPLIT|NOFRAME,$0-0
	MOVL	$4, AX
	MOVL	·rtminFD(SB), BX
	LEAL	·rtminOne(SB), CX
	MOVL	$8, DX
	INT	$0x80
	RET

TEXT ·rtminHandler(SB),NOSPLIT,$0-4
	LEAL	·onRTMin(SB), AX
	MOVL	AX, ret+0(FP)
	RET
