# frozen_string_literal: true

module Stepwell
  class ApiHandler < StepHandler
    # Text that came from elsewhere, as a message or metadata can hold it.
    # @api private
    module Text
      module_function

      # @return [String] the first characters, as valid UTF-8 that PostgreSQL can store
      def clip(value, characters)
        text = value.to_s
        unless [Encoding::UTF_8, Encoding::BINARY, Encoding::US_ASCII].include?(text.encoding)
          text = text.encode(Encoding::UTF_8, invalid: :replace, undef: :replace)
        end
        text = text.byteslice(0, 4 * characters).force_encoding(Encoding::UTF_8).scrub("\uFFFD")
        text[0, characters].tr("\0", "\uFFFD")
      end
    end
  end
end
