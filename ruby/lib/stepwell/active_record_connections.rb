# frozen_string_literal: true

module Stepwell
  # ActiveRecord lends each thread a connection for as long as the thread lives, unless somebody gives it back: Rails
  # does so after a request. A worker does after each step, because it may have more threads than the pool has
  # connections. Where ActiveRecord is not loaded there is nothing to do.
  # @api private
  module ActiveRecordConnections
    module_function

    # Gives back what this thread has borrowed when the block ends.
    # @return what the block returns
    def release_after
      yield
    ensure
      release
    end

    # Gives back what this thread has borrowed. It never raises: what a handler has done stays done.
    # @return [void]
    def release
      return unless loaded?

      pools.each do |pool|
        connection = pool.active_connection? or next
        connection.transaction_open? ? give_up(pool, connection) : pool.release_connection
      end
    rescue StandardError => e
      warn_of("ActiveRecord's connections could not be given back", e) unless @told
      @told = true
    end

    # @return [Boolean] a class that is only announced is not loaded for this
    def loaded?
      defined?(::ActiveRecord::Base) && !::ActiveRecord.autoload?(:Base) ? true : false
    end

    # @return [Array] those of all roles and shards
    def pools
      handlers.flat_map do |handler|
        # Up to 7.0 a list without a role is that of the current one; from 7.2 on the other method is gone.
        handler.respond_to?(:each_connection_pool) ? handler.connection_pool_list(:all) : handler.all_connection_pools
      end
    end

    # Up to 7.0 an application may have a handler for each role.
    def handlers
      base = ::ActiveRecord::Base
      settings = ::ActiveRecord.respond_to?(:legacy_connection_handling) ? ::ActiveRecord : base
      legacy = settings.respond_to?(:legacy_connection_handling) && settings.legacy_connection_handling
      [base.connection_handler, *(base.connection_handlers.values if legacy)].uniq
    end

    # The next step would go on in the transaction that this one has left open, so PostgreSQL ends it, with its session.
    # A connection that tests lend to all threads, with its transaction, is not this thread's to give up.
    def give_up(pool, connection)
      return unless connection.owner.equal?(borrower)

      pool.remove(connection)
      connection.disconnect!
      warn_of("a handler left a transaction of ActiveRecord open, which is rolled back")
    end

    # @return [Thread, Fiber] who borrows when this thread does
    def borrower
      return Thread.current unless defined?(::ActiveSupport::IsolatedExecutionState)

      ::ActiveSupport::IsolatedExecutionState.context
    end

    def warn_of(message, error = nil)
      Logging.log(Logger::WARN, :worker, message, error: error && "#{error.class}: #{error.message}")
    rescue StandardError
      nil # also a logger may be broken
    end
  end
end
