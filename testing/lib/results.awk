# How many tests passed, failed and were skipped, from what `cargo test` printed. stage_failed says how that ended.
# Of a program that crashed, all tests that did not pass have failed; so has one at least where anything went wrong.
function end_program() {
  if (open) { passed += ok; failed += all - ok }
  open = 0
}
/^running [0-9]+ tests?$/ { end_program(); open = 1; all = $2; ok = 0 }
/^test .* \.\.\. ok$/ { ok++ }
/^test result:/ { passed += $4; failed += $6; skipped += $8; open = 0 }
END {
  end_program()
  if (stage_failed && !failed) failed = 1
  print passed + 0, failed + 0, skipped + 0
}
