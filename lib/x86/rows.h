/* All instruction rows. Included with RM() and RN() defined; no include guard on purpose. */
#include "x86/rows_int.def"
#include "x86/rows_str.def"
#include "x86/rows_sys.def"
#include "x86/rows_group.def"
#include "x86/rows_x87.def"
#include "x86/rows_sse.def"
#include "x86/rows_vex.def"
