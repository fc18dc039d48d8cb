# frozen_string_literal: true

module Bench
  module Peers
    NODE = %w[node].freeze
  end
end
