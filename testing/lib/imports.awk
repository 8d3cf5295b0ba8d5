# Imports stand in three groups with a blank line between them: the standard library, crates, this crate's own modules.
# rustfmt sorts inside a group; putting the groups in order is not stable in it yet.
function group_of(path) {
  if (path ~ /^(std|core|alloc)$/) return 1
  return path ~ /^(crate|super|self)$/ || path in modules ? 3 : 2
}
FNR == 1 { delete modules; group = blank = inside = 0 }
/^ *(pub(\([a-z]+\))? )?mod [a-z0-9_]+[ ;]/ {
  name = $0
  sub(/^.*mod /, "", name)
  sub(/[ ;].*/, "", name)
  modules[name]
}
/^ *use / {
  path = $0
  sub(/^ *use (::)?/, "", path)
  sub(/[^a-zA-Z0-9_].*/, "", path)
  before = group
  group = group_of(path)
  column = index($0, "use ")
  if (before && column == indented && (group < before || (group > before) != blank)) {
    print FILENAME ":" FNR ": " $0
    found = 1
  }
  indented = column
  blank = 0
  inside = !/;$/
  next
}
inside { inside = !/;$/; next }
/^$/ { blank = 1; next }
{ group = blank = 0 }
END { exit found }
