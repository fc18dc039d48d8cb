# frozen_string_literal: true

# Cuts one direction of a connection into the messages of PostgreSQL's protocol: a letter, a length that counts itself,
# the rest. Only a client's first message has no letter.
class Frames
  # @param startup [Boolean] whether the first message has no letter
  def initialize(startup:)
    @buffer = String.new
    @startup = startup
  end

  # @param bytes [String] what has just come
  # @return [Array<String>] the messages that are complete with it
  def take(bytes)
    @buffer << bytes
    frames = []
    while (size = complete)
      frames << @buffer.slice!(0, size)
      @startup = false
    end
    frames
  end

  private

  # @return [Integer, nil] length of the first message when all of it is there
  def complete
    letter = @startup ? 0 : 1
    return if @buffer.bytesize < letter + 4

    size = letter + @buffer.byteslice(letter, 4).unpack1("N")
    size if @buffer.bytesize >= size
  end
end
