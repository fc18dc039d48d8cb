# frozen_string_literal: true

# Finds SQL in Rust string literals that writes to a table of the schema stepwell. Every such write is a function in
# migrations/, where its locks can be read. Tests may write: files below a `tests` folder, files named tests.rs, and all
# that follows `#[cfg(test)] mod`, which stands at the end of a file.
module SqlLint
  WRITE = /\b(?:insert\s+into|update(?:\s+only)?|delete\s+from(?:\s+only)?|merge\s+into|copy|
              truncate(?:\s+table)?(?:\s+only)?)\s+"?stepwell"?\s*\./xi

  # Comments and characters are matched too, so that a quote inside them opens no string.
  TOKEN = %r{
    //[^\n]* | /\*.*?\*/ | b?'(?:\\.[^']*|[^\\'])' |
    (?<string> b?r(?<hashes>\#*)".*?"\k<hashes> | [bc]?"(?:\\.|[^"\\])*" )
  }mx

  TESTS = /^\s*\#\[cfg\(test\)\]\s*(?:pub\S*\s+)?mod\s/

  module_function

  # @param paths [Array<String>] Rust files
  # @param root [String] the folder that findings are named from
  # @return [Array<String>] findings, as "path:line: text"
  def check(paths, root:)
    paths.grep_v(%r{/tests/|/tests\.rs\z|/target/}).sort.flat_map do |path|
      writes(File.read(path)).map { |line, text| "#{path.delete_prefix("#{root}/")}:#{line}: #{text}" }
    end
  end

  # @param source [String] Rust code
  # @return [Array<(Integer, String)>] line and beginning of each write
  def writes(source)
    found = []
    source.sub(/#{TESTS}.*/m, "").scan(TOKEN) do
      match = Regexp.last_match
      next unless match[:string]

      text = match[:string].gsub(/\\\n\s*|\\n/, " ")
      found << [match.pre_match.count("\n") + 1, text[WRITE].squeeze(" ")] if text.match?(WRITE)
    end
    found
  end
end
