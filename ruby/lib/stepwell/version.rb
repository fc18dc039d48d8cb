# frozen_string_literal: true

module Stepwell
  # Version of the gem; the same as the Rust workspace's.
  VERSION = "0.1.0"
end
