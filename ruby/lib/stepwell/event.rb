# frozen_string_literal: true

module Stepwell
  # Something that a person or a rule did to a task.
  # @!attribute [r] kind
  #   @return [Symbol] :cancel, :retry, :resolve, :replay or :deadline
  # @!attribute [r] actor
  #   @return [String] who: what was given as actor, else the database user, else "stepwell" for a rule; {database_user}
  #     is what PostgreSQL knows
  # @!attribute [r] database_user
  #   @return [String] the role that was logged in at the database
  # @!attribute [r] reason
  #   @return [String, nil] why
  # @!attribute [r] details
  #   @return [Hash, nil] more, such as the step
  # @!attribute [r] at
  #   @return [Time]
  Event = Struct.new(:kind, :actor, :database_user, :reason, :details, :at, keyword_init: true) do
    include OneLine

    # @api private
    def self.from_row(row)
      new(kind: row["kind"].to_sym, actor: row["actor"], database_user: row["database_user"], reason: row["reason"],
          details: row["details"], at: Stepwell.time(row["happened_at"])).freeze
    end

    private

    def summary
      [kind, "by #{actor == database_user ? actor : "#{actor} (as #{database_user})"}", moment(at), quoted(reason)]
    end
  end
end
