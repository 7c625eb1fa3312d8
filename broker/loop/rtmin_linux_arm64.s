#include "textflag.h"

// write(rtminFD, &rtminOne, 8), on the signal stack. The kernel gives all
// registers back.
TEXT ·onRTMin(SB),NOSPLIT|NOFRAME,$0-0
	MOVD	$64, R8
	MOVW	·rtminFD(SB), R0
	MOVD	$·rtminOne(SB), R1
	MOVD	$8, R2
	SVC
	RET

TEXT ·rtminHandler(SB),NOSPLIT,$0-8
	MOVD	$·onRTMin(SB), R0
	MOVD	R0, ret+0(FP)
	RET
