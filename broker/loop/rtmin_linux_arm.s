#include "textflag.h"

// write(rtminFD, &rtminOne, 8), on the signal stack. The kernel gives all
// registers back.
TEXT ·onRTMin(SB),NOSPLIT|NOFRAME,$0-0
	MOVW	$4, R7
	MOVW	·rtminFD(SB), R0
	MOVW	$·rtminOne(SB), R1
	MOVW	$8, R2
	SWI	$0
	RET

TEXT ·rtminHandler(SB),NOSPLIT,$0-4
	MOVW	$·onRTMin(SB), R0
	MOVW	R0, ret+0(FP)
	RET
