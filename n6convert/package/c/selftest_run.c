/* The self-test of @STEM@ on the board. Written by n6convert; Apache-2.0. */
#include "@STEM@_run.h"
#include "@STEM@_selftest.h"

#include <stdio.h>
#include <string.h>

int @STEM@_selftest_run(void)
{
  static const void *const given[@PREFIX@_INPUTS] = {@GIVEN@};
  const @STEM@_output_t *const *found = @STEM@_results();
  uint32_t i, right = 0u, worst = 0u;
  int code, furthest = -1;
  for (i = 0; i < @PREFIX@_INPUTS; i++) memcpy(@STEM@_input(i), given[i], @STEM@_inputs[i].size);
  code = @STEM@_run();
  if (code != 0) {
    printf("@STEM@ self-test: FAIL, the runtime returned %d\n", code);
    return 0;
  }
  for (i = 0; i < @PREFIX@_OUTPUTS; i++) {
    const int steps = @STEM@_selftest_difference(i, found[i]);
    if (steps > furthest) {
      furthest = steps;
      worst = i;
    }
    if (@STEM@_selftest_output_passed(i, found[i])) right++;
  }
  printf("@STEM@ self-test: %s %lu/%lu, worst %d steps in %s\n", right == @PREFIX@_OUTPUTS ? "PASS" : "FAIL",
         (unsigned long)right, (unsigned long)@PREFIX@_OUTPUTS, furthest, @STEM@_outputs[worst].name);
  return right == @PREFIX@_OUTPUTS;
}
