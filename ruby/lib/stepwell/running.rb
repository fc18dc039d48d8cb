# frozen_string_literal: true

module Stepwell
  # The orchestrators and workers that run in this process. Any thread may add, remove and read, also a trap, which can
  # lock no Mutex: each is one step of the interpreter, and whoever reads gets a list of its own.
  # @api private
  class Running
    include Enumerable

    def initialize
      @objects = {}.compare_by_identity
    end

    def add(object)
      @objects[object] = true
    end

    def delete(object)
      @objects.delete(object)
    end

    def clear
      @objects.clear
    end

    def empty?
      @objects.empty?
    end

    def each(&block)
      @objects.keys.each(&block)
    end
  end
end
