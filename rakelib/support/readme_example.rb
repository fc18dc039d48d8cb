# frozen_string_literal: true

# The first ```ruby block of a README and the ```text block that follows it: a program and what it prints.
class ReadmeExample
  BLOCKS = /^```ruby[^\n]*\n(?<program>.*?)^```\s*$(?<between>.*?)^```text[^\n]*\n(?<output>.*?)^```\s*$/m

  attr_reader :program, :output

  # @param markdown [String] the text of the README
  def initialize(markdown)
    match = BLOCKS.match(markdown) or raise ArgumentError, "no ```ruby block with a ```text block after it"
    raise ArgumentError, "the first ```ruby block has no ```text block after it" if match[:between].include?("```ruby")

    @program = match[:program]
    @output = match[:output]
  end

  # @param printed [String] what the program printed
  # @return [Boolean] whether it is the expected output; `...` stands for any text within a line
  def match?(printed)
    expected = output.strip.lines(chomp: true).map do |line|
      Regexp.escape(line.rstrip).gsub(/(?:\\\.){3}(?!\\\.)/, ".*")
    end
    printed.strip.lines(chomp: true).map(&:rstrip).join("\n").match?(/\A#{expected.join("\n")}\z/)
  end
end
